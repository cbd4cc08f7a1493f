"""The two ways Noise can fail: our bug, or the peer's bytes."""

from varde_contract.closing import CloseCode
from varde_contract.errors import LocalMisuse, PeerFault


class NoiseMisuse(LocalMisuse):
    """We called out of turn, with the wrong keys, too much payload, after a failure, or past the last nonce."""


class NoiseFault(PeerFault):
    """The peer's bytes did not authenticate, were too short or too long, or held a key that leads to no secret."""

    def __init__(self, rule: str, close_code: CloseCode = CloseCode.HANDSHAKE_FAILED) -> None:
        super().__init__(rule, close_code)
