"""`probe`: answered at once, with the same token. Nothing is looked up and nobody else is told."""

from relay.connection.peer import Peer
from relay.services import Services
from varde_contract.frames import Probe, ProbeEcho


def probe(_: Services, peer: Peer, frame: Probe) -> None:
    """Send the token back."""
    peer.send(ProbeEcho(frame.token))
