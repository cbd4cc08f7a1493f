"""What is done with each frame of a client: one row of a table for each.

Refuses branches: a frame without a row cannot be received, the session's own table sees to that.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from msgspec import Struct

from contract import frames as f
from contract.refusals import Refused
from domain.ports import StoreUnavailable
from relay.confirming import delivered, read
from relay.joining import join, sync
from relay.outage import UNAVAILABLE
from relay.peer import Peer
from relay.posting import post
from relay.presence import presence, typing
from relay.refusing import refused_frame
from relay.services import Services

_WAYS: Final[dict[type[Struct], Callable[[Services, Peer, Any], Awaitable[Refused | None]]]] = {
    f.Join: join,
    f.Send: post,
    f.Delivered: delivered,
    f.Read: read,
    f.Sync: sync,
    f.Typing: typing,
    f.Presence: presence,
}


async def dispatch(services: Services, peer: Peer, frame: f.ClientFrame) -> None:
    """Do what a frame asks for, or say why not. A checkpoint only when a store has to be asked."""
    try:
        refused = await _WAYS[type(frame)](services, peer, frame)
    except StoreUnavailable:
        services.outage.failed()
        refused = UNAVAILABLE
    if refused is not None:
        peer.tell(refused_frame(frame, refused))
