"""Rosters that moved: who fell out stops listening, who came in begins, and everybody concerned is told to look.

This is only how soon people notice.
"""

from collections.abc import Mapping
from typing import Final, NoReturn

import trio

from domain.ports import StoreUnavailable
from domain.talk.model import ListRequest, Roster
from relay.cache.outage import RETRY
from relay.connection.peer import Peer
from relay.frames.join import PAGE, join_all, join_new, join_these
from relay.services import Services
from varde_contract.frames import ChangeKind
from varde_contract.ids import ConversationId

PEERS_PER_QUERY: Final = 64
"""Connections whose conversations are listed again together."""


async def run_membership_sync(services: Services) -> NoReturn:
    """Look at what moved, for as long as the node lives."""
    while True:
        await services.changes.wait()
        moved, relist = services.changes.take()
        try:
            await _seat(services, moved)
            if relist:
                await _list_again(services)
        except StoreUnavailable:
            for conversation, kind in moved.items():
                services.changes.note(conversation, kind)
            if relist:
                services.changes.note_unknown()
            await trio.sleep(RETRY)


async def _seat(services: Services, moved: Mapping[ConversationId, ChangeKind]) -> None:
    rosters = await services.rosters.fetch(list(moved))
    for conversation, kind in moved.items():
        roster = rosters.get(conversation)
        _let_go(services, conversation, roster)
        if roster is not None:
            await _let_in(services, roster, kind)


def _let_go(services: Services, conversation: ConversationId, roster: Roster | None) -> None:
    for listener in services.hub.listeners(conversation):
        if roster is None or listener.peer.device not in roster.devices:
            version = 0 if roster is None else roster.version
            listener.peer.send_changed(ChangeKind.MEMBERSHIP, conversation, version)
            services.hub.remove_listener(listener.peer, conversation)


async def _let_in(services: Services, roster: Roster, kind: ChangeKind) -> None:
    for peer in _connected(services, roster):
        if peer.wants_all and roster.conversation not in peer.listeners:
            await join_new(services, peer, roster.conversation)
        peer.send_changed(kind, roster.conversation, roster.version)


def _connected(services: Services, roster: Roster) -> list[Peer]:
    found = (services.hub.find(device) for device in roster.devices)
    return [peer for peer in found if peer is not None]


async def _list_again(services: Services) -> None:
    """Let everybody who joined all join what they are in by now: a page each, for many peers with one query."""
    eager = [peer for peer in services.hub.peers if peer.wants_all]
    for start in range(0, len(eager), PEERS_PER_QUERY):
        peers = eager[start : start + PEERS_PER_QUERY]
        pages = await services.conversations.list_many([ListRequest(peer.device, None, PAGE) for peer in peers])
        await services.rosters.remember(head.conversation for page in pages for head in page)
        for peer, page in zip(peers, pages, strict=True):
            if len(page) < PAGE:
                join_these(services, peer, page)
            else:
                await join_all(services, peer)
