"""A conversation with its clients around it, for tests that talk."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import trio
from trio.testing import wait_all_tasks_blocked

from tests.varde.desks import MemoryRelay, open_desk
from tests.varde.parties import Party, Table
from varde.client import Client
from varde.conversation import Conversation
from varde.happenings import Happening, Message
from varde.stream import Happenings
from varde_contract.rest.conversations import ConversationKind

H = TypeVar("H", bound=Happening)


class Room:
    """A table with its relay and the clients around it."""

    def __init__(self, relay: MemoryRelay, table: Table, clients: Mapping[Party, Client]) -> None:
        self.relay = relay
        self.table = table
        self.clients = clients

    def __getitem__(self, party: Party) -> Conversation:
        """The conversation as one party has it."""
        return self.clients[party].conversation(self.table.conversation)

    def messages(self, party: Party) -> Happenings[Message]:
        """A new iteration over the conversation."""
        return aiter(self[party])


@asynccontextmanager
async def seated(kind: ConversationKind, *parties: Party, absent: tuple[Party, ...] = ()) -> AsyncIterator[Room]:
    """Clients of these parties in one conversation, connected but for those that are absent."""
    table = Table(kind, *parties)
    relay = MemoryRelay(table)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay.run)
        async with AsyncExitStack() as stack:
            present = [party for party in parties if party not in absent]
            clients = {party: await stack.enter_async_context(open_desk(relay, party)) for party in present}
            await wait_all_tasks_blocked()
            yield Room(relay, table, clients)
        nursery.cancel_scope.cancel()


async def texts(messages: Happenings[Message], count: int) -> list[str]:
    """The next texts of a conversation."""
    return [(await anext(messages)).text for _ in range(count)]


async def first(happenings: Happenings[Happening], kind: type[H]) -> H:
    """The next happening of a kind."""
    while True:
        happening = await anext(happenings)
        if isinstance(happening, kind):
            return happening
