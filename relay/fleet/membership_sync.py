"""Applies changes of rosters to connections: who is no member any more stops listening, who became one begins.

This only decides how soon devices notice. Whether a device may have a message is decided by the roster of the message.
"""

from collections.abc import Mapping
from typing import Final, NoReturn

import trio

from domain.ports import StoreUnavailable
from domain.talk.model import ListRequest, Roster
from relay.cache.outage import RETRY
from relay.cache.rosters import ROSTERS_PER_QUERY
from relay.connection.peer import Peer
from relay.frames.join import PAGE, join_all, join_new, join_these
from relay.services import Services
from varde_contract.frames import ChangeKind
from varde_contract.ids import ConversationId

PEERS_PER_QUERY: Final = 64
"""Connections whose conversations are listed again together."""


async def run_membership_sync(services: Services) -> NoReturn:
    """Apply changes, for as long as the node lives."""
    while True:
        await services.roster_changes.wait()
        changed, any_others = services.roster_changes.take()
        try:
            await _apply(services, changed)
            if any_others:
                await _remove_former_members(services)
                await _join_again(services)
        except StoreUnavailable:
            # Also those that were looked at already: a second `changed` does no harm, and one that is left out would.
            for conversation, kind in changed.items():
                services.roster_changes.note(conversation, kind)
            if any_others:
                services.roster_changes.note_any()
            await trio.sleep(RETRY)


async def _apply(services: Services, changed: Mapping[ConversationId, ChangeKind]) -> None:
    rosters = await services.rosters.fetch(list(changed))
    for conversation, kind in changed.items():
        roster = rosters.get(conversation)
        _remove_listeners(services, conversation, roster)
        if roster is not None:
            await _notify_members(services, roster, kind)


def _remove_listeners(services: Services, conversation: ConversationId, roster: Roster | None) -> None:
    for listener in services.hub.listeners(conversation):
        if roster is None or listener.peer.device not in roster.devices:
            version = 0 if roster is None else roster.version
            listener.peer.send_changed(ChangeKind.MEMBERSHIP, conversation, version)
            services.hub.remove_listener(listener.peer, conversation)


async def _remove_former_members(services: Services) -> None:
    """Check every listener against the roster as it is now, because a removal may have been missed."""
    conversations = sorted(services.hub.conversations)
    for start in range(0, len(conversations), ROSTERS_PER_QUERY):
        asked = conversations[start : start + ROSTERS_PER_QUERY]
        rosters = await services.rosters.fetch(asked)
        for conversation in asked:
            _remove_listeners(services, conversation, rosters.get(conversation))


async def _notify_members(services: Services, roster: Roster, kind: ChangeKind) -> None:
    for peer in _connected(services, roster):
        if peer.wants_all and roster.conversation not in peer.listeners:
            await join_new(services, peer, roster.conversation)
        peer.send_changed(kind, roster.conversation, roster.version)


def _connected(services: Services, roster: Roster) -> list[Peer]:
    found = (services.hub.find(device) for device in roster.devices)
    return [peer for peer in found if peer is not None]


async def _join_again(services: Services) -> None:
    """Let every peer that joined all join the conversations it is in now: a page each, one query for many peers."""
    wanting = [peer for peer in services.hub.peers if peer.wants_all]
    for start in range(0, len(wanting), PEERS_PER_QUERY):
        peers = wanting[start : start + PEERS_PER_QUERY]
        pages = await services.conversations.list_many([ListRequest(peer.device, None, PAGE) for peer in peers])
        joining = [head.conversation for page in pages for head in page]
        await services.rosters.remember(joining)
        epochs = await services.epochs.heads(joining)
        for peer, page in zip(peers, pages, strict=True):
            if len(page) < PAGE:
                join_these(services, peer, page, epochs)
            else:
                await join_all(services, peer)
