"""What is done with each frame of a client: one row of a table for each."""

from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from domain.ports import StoreUnavailable
from relay.cache.outage import UNAVAILABLE
from relay.connection.peer import Peer
from relay.frames.join import join, sync
from relay.frames.presence import presence, typing
from relay.frames.receipts import delivered, read
from relay.frames.refusals import Deferred, Outcome
from relay.frames.send import post
from relay.services import Services
from varde_contract import frames as f
from varde_contract.refusals import Refused

_WAYS: Final[dict[type[Struct], Callable[[Services, Peer, Any], Outcome]]] = {
    f.Join: join,
    f.Send: post,
    f.Delivered: delivered,
    f.Read: read,
    f.Sync: sync,
    f.Typing: typing,
    f.Presence: presence,
}


def dispatch(services: Services, peer: Peer, frame: f.ClientFrame) -> Outcome:
    """Do what a frame asks for, or say why not; or what is left to do, where a store has to be waited for."""
    return _WAYS[type(frame)](services, peer, frame)


async def run_deferred(services: Services, deferred: Deferred) -> Refused | None:
    """Do what had to wait."""
    try:
        return await deferred()
    except StoreUnavailable:
        services.outage.failed()
        return UNAVAILABLE
