"""The tree of tasks of a connected client, and the one way to open it.

connect └─ store                    locked by this process, closed last └─ nursery ├─ link               connects,
reconnects, hands frames to the receiver ├─ rosters            fetches what the relay says has moved ├─ keys
uploads prekeys at the start and when few are left ├─ errands            looks up unknown senders, asks again └─ lane x
N           one for each conversation something is sent in
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import httpx
import trio

from varde.access import Access
from varde.client import Client
from varde.crypto.keychain import Keychain, Own
from varde.device import PHRASE, load_api_url, load_device
from varde.errors import Ended, VardeError
from varde.happenings import LinkDown, LinkUp
from varde.http import Http
from varde.lane import Lane
from varde.line import Line
from varde.link import Link, Listening
from varde.me import Me
from varde.post import Post
from varde.rest import Rest
from varde.rosters import Rosters
from varde.services import Services
from varde.store import Store, Unlock, open_store
from varde.stream import Stream
from varde.upkeep import Upkeep
from varde_contract.exception_groups import ungrouped
from varde_contract.frames import ServerFrame
from varde_contract.ids import ConversationId

GOODBYE_SECONDS = 2.0
"""How long the end of the block waits for what is queued, receipts above all."""


@asynccontextmanager
async def connect(
    home: Path | str, unlock: Unlock, *, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[Client]:
    """Open the device of a home folder for the block. The link comes up, and comes back, in the background.

    Raises NotEnrolled, StoreInUse, WrongKey, StoreDamaged.
    """
    async with open_store(Path(home), unlock) as store:
        keys, me = load_device(store)
        with store.transaction():
            store.settings.remove(PHRASE)  # it was shown; from here on it lives on paper
        async with Http(load_api_url(store), transport=transport) as http:
            services = make_services(store, http, me)
            with ungrouped():
                async with trio.open_nursery() as nursery:
                    running = Running(services, nursery, lambda listening: Link(store, services.rest, keys, listening))
                    try:
                        yield Client(services)
                        services.stream.settle()
                    finally:
                        await running.aclose()


def make_services(store: Store, http: Http, me: Me) -> Services:
    """Put a client together."""
    keychain, stream = Keychain(store, Own(me.account, me.device)), Stream(store)
    rest = Rest(http, Access(store, http))
    rosters = Rosters(store, rest, keychain.trust, stream.tell)
    return Services(me, store, keychain, rest, rosters, stream, Post(store, me, stream))


class Connecting(Protocol):
    """What keeps a connection: `varde.link.Link`."""

    async def run(self) -> VardeError:
        """Connect again and again; return why there is no point in going on."""

    async def aclose(self) -> None:
        """Say goodbye."""


class Running:
    """The tasks of one client. Implements `varde.link.Listening`."""

    def __init__(self, services: Services, nursery: trio.Nursery, open_link: Callable[[Listening], Connecting]) -> None:
        self._services = services
        self._nursery = nursery
        self._upkeep = Upkeep(services, nursery)
        self._link = open_link(self)
        self._was_up = False
        services.post.open_lane = self._open_lane
        nursery.start_soon(self._run_link)
        nursery.start_soon(services.rosters.run)
        nursery.start_soon(self._upkeep.run_keys)
        services.post.resume()

    def up(self, line: Line) -> None:
        """Welcome has come: listen to everything, and go on sending."""
        self._upkeep.receiver.begin(line)
        self._services.post.begin(line)
        for head in line.welcome.heads:
            self._services.rosters.note(head.conversation, head.roster_version)
        self._services.stream.tell(LinkUp(self._was_up))
        self._was_up = True

    def take(self, frames: Sequence[ServerFrame]) -> None:
        """Frames have come."""
        self._upkeep.receiver.take(frames)

    def down(self, why: str, retry_in_s: float | None) -> None:
        """The connection is gone, or did not come about."""
        self._upkeep.receiver.end()
        self._services.post.end()
        self._services.stream.tell(LinkDown(why, retry_in_s))

    async def aclose(self) -> None:
        """Say goodbye, then end every task. What is not acked stays in the store."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + GOODBYE_SECONDS):
            await self._link.aclose()
        self._nursery.cancel_scope.cancel()
        ended = Ended("the client was closed")
        self._services.post.close(ended)
        self._services.stream.close(ended)

    async def _run_link(self) -> None:
        end = await self._link.run()
        self._services.post.close(end)
        self._services.stream.close(end)

    def _open_lane(self, conversation: ConversationId) -> None:
        self._nursery.start_soon(Lane(conversation, self._services).run)
