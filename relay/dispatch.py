"""What is done with each frame of a client: one row of a table for each.

Refuses branches: a frame without a row cannot be received, the session's own table sees to that.
"""

from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from contract import frames as f
from contract.refusals import Refused
from domain.ports import StoreUnavailable
from relay.confirming import delivered, read
from relay.joining import join, sync
from relay.later import Later, Outcome
from relay.outage import UNAVAILABLE
from relay.peer import Peer
from relay.posting import post
from relay.presence import presence, typing
from relay.services import Services

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


async def do_later(services: Services, later: Later) -> Refused | None:
    """Do what had to wait."""
    try:
        return await later()
    except StoreUnavailable:
        services.outage.failed()
        return UNAVAILABLE
