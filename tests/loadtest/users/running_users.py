"""People of the cast at a real relay, as the generator sees them.

The relay runs on Trio in a thread, the people on gevent in this one, as they do in two processes.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gevent
import trio
from gevent.greenlet import Greenlet

from loadtest.crowd.crowd import Crowd, Room, Seat
from loadtest.ledger.ledger import PayloadCipher
from loadtest.ledger.run_time import RunClock
from loadtest.scenarios.plan import Kind, Plan, Sizes
from loadtest.users.population import Population
from loadtest.users.relay_user import RelayUser
from simulation.stores import open_memory_stores
from simulation.stores.memory import Memory
from tests.cast import CastDevice, Person, alice, bob, carol, open_conversation, settle
from tests.loadtest.users.recording import PATIENCE, RecordingLedger, wait_until
from tests.relay.memory_node import RELAY_KEY
from tests.relay.tcp_node import TcpNode, open_tcp_node
from varde_contract.ids import ConversationId
from varde_contract.talk import ConversationKind

SMALL = Sizes(((128, 1.0),))


@dataclass
class Relay:
    """A node that runs in a thread."""

    memory: Memory
    conversation: ConversationId
    node: TcpNode
    token: trio.lowlevel.TrioToken

    def crowd(self, *gears: CastDevice, group: bool) -> Crowd:
        """Return these devices in the conversation."""
        return crowd_of(self.node.url, [seat_of(self.node, device) for device in gears], self.conversation, group=group)

    def drain(self) -> None:
        """Have the node ask everybody to go."""
        self.token.run_sync_soon(self.node.stop.set)

    def confirmed(self, device: CastDevice) -> int:
        """Return how far a device has confirmed."""
        return self.memory.talks[self.conversation].positions[device.id].upto


@contextmanager
def open_relay(*people: Person, kind: ConversationKind, **config: Any) -> Iterator[Relay]:
    """Run a node on which these people have a conversation."""
    with ThreadPoolExecutor(1, "relay-for-tests") as thread:
        opened: Future[tuple[Relay, trio.Event]] = Future()
        running = thread.submit(trio.run, partial(_serve, people, kind, opened, config))
        running.add_done_callback(lambda ended: None if opened.done() else opened.set_exception(_fault_of(ended)))
        relay, over = opened.result()
        try:
            yield relay
        finally:
            with suppress(trio.RunFinishedError):  # why it ended by itself, its result says
                relay.token.run_sync_soon(over.set)
            running.result()


def _fault_of(ended: "Future[None]") -> BaseException:
    return ended.exception() or AssertionError("the relay ended")


async def _serve(
    people: Sequence[Person], kind: ConversationKind, opened: "Future[tuple[Relay, trio.Event]]", config: dict[str, Any]
) -> None:
    memory, over = Memory(), trio.Event()
    stores = open_memory_stores(memory=memory)
    await settle(stores, *people)
    conversation = await open_conversation(stores, *people, kind=kind)
    async with open_tcp_node(stores, **config) as node:
        opened.set_result((Relay(memory, conversation, node, trio.lowlevel.current_trio_token()), over))
        await over.wait()  # as long as the test takes


def seat_of(node: TcpNode, device: CastDevice) -> Seat:
    """Return a device with a good ticket, in room 0."""
    credentials = node.credentials(device)
    profile = next(person.profile for person in (alice, bob, carol) if person.account == device.model.account)
    return Seat(
        device.model.account, profile, device.id, device.noise.private_bytes(), credentials.hello.ticket, "", (0,)
    )


def crowd_of(url: str, seats: Sequence[Seat], conversation: ConversationId, *, group: bool) -> Crowd:
    """Return seats that share one room."""
    room = Room(conversation, tuple(range(len(seats))), 1, group)
    return Crowd(url, "", RELAY_KEY.public, bytes(range(32)), 0, tuple(seats), (room,))


@dataclass
class RunningUsers:
    """Users on a population, each on its greenlet."""

    population: Population
    ledger: RecordingLedger
    users: list[RelayUser] = field(default_factory=list)
    lives: list[Greenlet] = field(default_factory=list)

    def enter(self, count: int = 1) -> None:
        """Let as many take their seats."""
        for _ in range(count):
            user = RelayUser(self.population, self.population.take_seat())
            self.users.append(user)
            self.lives.append(gevent.spawn(user.live))

    def enter_all(self) -> None:
        """Let everybody take a seat, and wait until they may send."""
        self.enter(self.population.plan.seats)
        wait_until(lambda: len(self.population.ready) == self.population.plan.seats)

    def settle(self) -> None:
        """Wait until every message was answered for and has come to whom it was due to."""
        due = sum(int(str(call[3])) for call in self.ledger.told("draw"))
        wait_until(lambda: not self.ledger.pending and len(self.ledger.told("receive")) >= due)


@contextmanager
def open_users(crowd: Crowd, **plan: Any) -> Iterator[RunningUsers]:
    """Open a population, and see to it that nobody is left in it."""
    simple = {"scenario": "test", "kind": Kind.MESSAGING, "stages": (), "payloads": SMALL, "seats": len(crowd.seats)}
    whole = Plan(**{**simple, **plan})
    ledger = RecordingLedger(PayloadCipher(crowd.payload_key))
    ledger.open_stage(0, 0)
    population = Population(crowd, whole, ledger, RunClock(), worker=0, workers=1)
    running = RunningUsers(population, ledger)
    try:
        yield running
        for user in running.users:
            user.stop()
        gevent.joinall(running.lives, timeout=PATIENCE, raise_error=True)
    finally:
        gevent.killall(running.lives, block=True, timeout=PATIENCE)
        population.close()
