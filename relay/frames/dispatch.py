"""The table of frame handlers: one function for each frame that a client may send."""

from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from domain.ports import StoreUnavailable
from relay.cache.outage import UNAVAILABLE
from relay.connection.peer import Peer
from relay.frames.join import join, sync
from relay.frames.presence import presence, typing
from relay.frames.probe import probe
from relay.frames.receipts import delivered, read
from relay.frames.refusals import Deferred, Outcome
from relay.frames.send import send
from relay.services import Services
from varde_contract import frames as f
from varde_contract.refusals import Refused

_HANDLERS: Final[dict[type[Struct], Callable[[Services, Peer, Any], Outcome]]] = {
    f.Join: join,
    f.Send: send,
    f.Delivered: delivered,
    f.Read: read,
    f.Sync: sync,
    f.Typing: typing,
    f.Presence: presence,
    f.Probe: probe,
}


def dispatch(services: Services, peer: Peer, frame: f.ReceivedFrame) -> Outcome:
    """Handle a frame. Returns None, its refusal, or the rest of its handler if that has to wait for a store."""
    return _HANDLERS[type(frame)](services, peer, frame)


async def run_deferred(services: Services, deferred: Deferred) -> Refused | None:
    """Run the rest of a handler. Refuses `unavailable` when the store does not answer."""
    try:
        return await deferred()
    except StoreUnavailable:
        services.outage.failed()
        return UNAVAILABLE
