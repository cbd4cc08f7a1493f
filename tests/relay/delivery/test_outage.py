"""A real database that hangs, dies and comes back, under a node and clients over TCP.

What is refused is `unavailable` or `overloaded` and was not stored, or not twice; what is acked is there for ever.
"""

import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from msgspec import Struct

from domain.ports import Stores
from domain.talk import model as talk
from settings.storage import DatabaseUrl, StorageSettings
from storage.postgres.pool import Timeouts
from storage.stores import open_storage
from tests.cast import alice, alice_laptop, bob, bob_laptop, bob_phone, open_conversation, settle
from tests.postgres_server import PostgresServer, open_postgres_server
from tests.relay.client import ConnectionClosed, RelayClient
from tests.relay.library_clients import open_with_websockets
from tests.relay.memory_node import Sends
from tests.relay.tcp_node import TcpNode, open_tcp_node
from tests.system import SCRATCH
from varde_contract import frames as f
from varde_contract.close_codes import CloseCode
from varde_contract.ids import ClientId

pytestmark = pytest.mark.xdist_group("outage")  # they share one Postgres

F = TypeVar("F", bound=Struct)

IMPATIENCE = Timeouts(acquire=1.0, statement=1.0, cancel=0.2, close=1.0)
DEADLINE = 60.0
"""Seconds. The tests take a few; only what never comes takes this long."""


@pytest.fixture(scope="module")
def lonely_server() -> Iterator[PostgresServer]:
    """A server that nobody else uses. Its folder lies high: the path of a socket is short."""
    with (
        tempfile.TemporaryDirectory(prefix="varde-", dir=SCRATCH) as folder,
        open_postgres_server(Path(folder)) as server,
    ):
        yield server


@pytest.fixture
def server(lonely_server: PostgresServer) -> Iterator[PostgresServer]:
    """The same with an empty database; whatever was done to it, it runs again for the next test."""
    lonely_server.renew()
    yield lonely_server
    lonely_server.recover()


@dataclass
class Scene:
    """Alice's laptop and Bob's phone are connected and joined, before anything breaks."""

    stores: Stores
    node: TcpNode
    roster: talk.Roster
    laptop: RelayClient
    phone: RelayClient
    sends: Sends
    received: list[f.New] = field(default_factory=list)
    """The messages the phone was told, in their order."""

    async def receive_on_phone(self, kind: type[F]) -> F:
        """The next frame of this kind that the phone is told; the messages before it are kept."""
        while not isinstance(frame := await self.phone.wait_for(Struct), kind):
            if isinstance(frame, f.New):
                self.received.append(frame)
        return frame

    def write(self, count: int) -> list[f.Send]:
        """Make some messages of Alice's."""
        return [self.sends.group(self.roster, alice) for _ in range(count)]

    async def send(self, sends: list[f.Send]) -> list[f.Ack | f.RefusedFrame]:
        """Send them and return the answer to each, in the order in which they come."""
        await self.laptop.send(*sends)
        return [await hear_answer(self.laptop) for _ in sends]

    async def send_until_acked(self, sends: list[f.Send]) -> dict[ClientId, f.Ack]:
        """Send them, and again what is refused, as every client does; return their acks."""
        acks: dict[ClientId, f.Ack] = {}
        while len(acks) < len(sends):
            for answer in await self.send([each for each in sends if each.client_id not in acks]):
                if isinstance(answer, f.Ack):
                    acks[answer.client_id] = answer
                else:
                    assert answer.retry_after_ms is not None
            await trio.sleep(0.1)  # less than the node asks for, so that it is the node that says when
        return acks


async def hear_answer(client: RelayClient) -> f.Ack | f.RefusedFrame:
    """The next ack or refusal."""
    while True:
        frame = await client.wait_for(Struct)
        if isinstance(frame, f.Ack | f.RefusedFrame):
            return frame


@asynccontextmanager
async def open_scene(server: PostgresServer, sends: Sends, **settings: Any) -> AsyncIterator[Scene]:
    """A node over the server, with deadlines of a second."""
    storage = StorageSettings(database=DatabaseUrl(server.url), pool_min=1, pool_max=4)
    with trio.fail_after(DEADLINE):
        async with (
            open_storage(storage, timeouts=IMPATIENCE) as stores,
            open_tcp_node(stores, commit_deadline=1.0, **settings) as node,
        ):
            await settle(stores, alice, bob)
            conversation = await open_conversation(stores, alice, bob)
            roster = (await stores.conversations.rosters([conversation]))[conversation]
            async with (
                open_with_websockets(node.url, node.credentials(alice_laptop)) as laptop,
                open_with_websockets(node.url, node.credentials(bob_phone)) as phone,
            ):
                for client in (laptop, phone):
                    await client.connect()
                    await client.send(f.Join())
                    await client.wait_for(f.Joined)
                yield Scene(stores, node, roster, laptop, phone, sends)


async def read_log(scene: Scene) -> list[ClientId]:
    """What a device that was away finds from the first number on; every number must be there, once."""
    async with open_with_websockets(scene.node.url, scene.node.credentials(bob_laptop)) as late:
        await late.connect()
        await late.send(f.Join(scene.roster.conversation, 1))
        head = (await late.wait_for(f.Joined)).head
        told = [await late.wait_for(f.New) for _ in range(head)]
    assert [new.seq for new in told] == list(range(1, head + 1))
    return [new.client_id for new in told]


async def check_once_each(scene: Scene, acks: dict[ClientId, f.Ack]) -> None:
    """Every acked message is in the log under its number, no other is, and the live listener heard the same."""
    in_order = [ack.client_id for ack in sorted(acks.values(), key=lambda ack: ack.seq)]
    assert await read_log(scene) == in_order
    while len(scene.received) < len(in_order):
        scene.received.append(await scene.receive_on_phone(f.New))
    assert [new.client_id for new in scene.received] == in_order


async def check_alive(scene: Scene) -> None:
    """Both connections stand, and what needs no database goes from one to the other."""
    await scene.laptop.send(f.Typing(scene.roster.conversation, alice.profile, active=True))
    await scene.receive_on_phone(f.TypingBy)


async def test_a_database_that_hangs(server: PostgresServer, sends: Sends) -> None:
    """Sends are refused with a time, connections stay, a join waits; when it goes on, so does everything else."""
    async with open_scene(server, sends) as scene:
        acks = await scene.send_until_acked(scene.write(3))
        server.freeze()
        unlucky = scene.write(5)
        for answer in await scene.send(unlucky):
            assert isinstance(answer, f.RefusedFrame)
            assert answer.code == "unavailable"
            assert answer.retry_after_ms is not None
        await check_alive(scene)
        await scene.phone.send(f.Join(scene.roster.conversation, 4))
        await check_alive(scene)
        server.thaw()
        await scene.receive_on_phone(f.Joined)
        acks |= await scene.send_until_acked(unlucky + scene.write(3))
        assert len(acks) == 11
        log = await read_log(scene)
        assert sorted(log) == sorted(acks)
        assert [acks[client_id].seq for client_id in log] == list(range(1, 12))


async def test_a_database_that_dies_and_comes_back(server: PostgresServer, sends: Sends) -> None:
    """Killed in the middle of a flood and started again on its data: what was acked is there, the rest once it is."""
    async with open_scene(server, sends, outage_patience=1.0, frames_per_second=10_000) as scene:
        flood = scene.write(400)
        await scene.laptop.send(*flood[:200])
        acks: dict[ClientId, f.Ack] = {}
        while len(acks) < 20:
            ack = await scene.laptop.wait_for(f.Ack)
            acks[ack.client_id] = ack
        await trio.to_thread.run_sync(server.kill)
        await scene.laptop.send(*flood[200:])
        for _ in range(len(flood) - len(acks)):
            answer = await hear_answer(scene.laptop)
            if isinstance(answer, f.Ack):
                acks[answer.client_id] = answer
            else:
                assert answer.code == "unavailable"
        assert len(acks) <= 200
        await check_alive(scene)
        await scene.phone.send(f.Join(scene.roster.conversation, 1))
        assert (await scene.receive_on_phone(f.RefusedFrame)).code == "unavailable"
        await trio.to_thread.run_sync(server.start)
        acks |= await scene.send_until_acked([each for each in flood if each.client_id not in acks])
        assert len(acks) == len(flood)
        await check_once_each(scene, acks)


async def test_newcomers_in_an_outage_are_told_to_come_back(server: PostgresServer, sends: Sends) -> None:
    """A handshake that needs a database that is away ends with the code for it; after the outage it does not."""
    async with open_scene(server, sends) as scene:
        await trio.to_thread.run_sync(server.kill)
        async with open_with_websockets(scene.node.url, scene.node.credentials(bob_laptop)) as late:
            with pytest.raises(ConnectionClosed) as closed:
                await late.connect()
            assert closed.value.code == CloseCode.DATABASE_LOST
        await trio.to_thread.run_sync(server.start)
        acks = await scene.send_until_acked(scene.write(2))
        await check_once_each(scene, acks)


async def test_too_many_that_wait_are_refused(server: PostgresServer, sends: Sends) -> None:
    """While the database hangs, no more waits than may: the others are refused at once, and nothing is stored twice."""
    async with open_scene(server, sends, shards=1, queue_drafts=8, batch_drafts=1) as scene:
        server.freeze()
        crowd = scene.write(50)
        codes = Counter(
            answer.code if isinstance(answer, f.RefusedFrame) else "acked" for answer in await scene.send(crowd)
        )
        assert set(codes) == {"overloaded", "unavailable"}
        assert codes["unavailable"] <= 1 + 8
        server.thaw()
        await check_once_each(scene, await scene.send_until_acked(crowd))
