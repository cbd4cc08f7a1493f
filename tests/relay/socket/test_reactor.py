"""The reactor alone: who is told what, when, and how often."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.metrics.counters import Metrics
from relay.socket.flush_scheduler import FlushScheduler
from relay.socket.reactor import BUSY, EVENTS_PER_PASS, PASSES_UNTIL_REST, Reactor, Waiter

Pair = tuple[socket.socket, socket.socket]


class Listening:
    """Reads what comes, and writes down what it was told."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.told: list[str] = []
        self.read = b""

    def on_readable(self) -> None:
        """Read a little."""
        self.told.append("readable")
        self.read += self.sock.recv(4)

    def on_writable(self) -> None:
        """Note it."""
        self.told.append("writable")

    def on_stopped(self) -> None:
        """Note it."""
        self.told.append("stopped")


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    """Closes sockets in the end."""
    with ExitStack() as stack:
        yield stack


def pair(sockets: ExitStack) -> Pair:
    """Two ends of a connection."""
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setblocking(False)
        sockets.enter_context(sock)
    return ours, theirs


async def test_what_is_left_unread_is_told_again(nursery: trio.Nursery, sockets: ExitStack) -> None:
    """Level-triggered: nobody has to read everything at once, so nobody can keep the loop for himself."""
    reactor = Reactor(FlushScheduler(), Metrics(), rest=0.0)
    nursery.start_soon(reactor.run)
    ours, theirs = pair(sockets)
    listening = Listening(ours)
    reactor.add(ours.fileno(), listening)
    theirs.send(b"0123456789")
    await wait_all_tasks_blocked()
    assert (listening.read, listening.told) == (b"0123456789", ["readable"] * 3)
    nursery.cancel_scope.cancel()


async def test_nobody_is_told_what_was_not_asked_for(nursery: trio.Nursery, sockets: ExitStack) -> None:
    """Reading and writing are asked for apart, nothing is asked for at times, and the end is silent then, too."""
    metrics = Metrics()
    reactor = Reactor(FlushScheduler(), metrics, rest=0.0)
    nursery.start_soon(reactor.run)
    ours, theirs = pair(sockets)
    listening = Listening(ours)
    reactor.add(ours.fileno(), listening)
    reactor.watch(ours.fileno(), reading=False, writing=False)
    theirs.send(b"0123")
    theirs.close()
    await wait_all_tasks_blocked()
    assert (listening.told, metrics.reactor_events) == ([], 0)
    reactor.watch(ours.fileno(), reading=True, writing=False)
    while not listening.read:
        await trio.lowlevel.checkpoint()
    reactor.remove(ours.fileno())
    told = len(listening.told)
    await wait_all_tasks_blocked()
    assert len(listening.told) == told
    assert len(reactor) == 0
    nursery.cancel_scope.cancel()


async def test_writing_is_told_while_it_is_asked_for(nursery: trio.Nursery, sockets: ExitStack) -> None:
    """And no longer."""
    reactor = Reactor(FlushScheduler(), Metrics(), rest=0.0)
    nursery.start_soon(reactor.run)
    ours, _theirs = pair(sockets)
    listening = Listening(ours)
    reactor.add(ours.fileno(), listening)
    reactor.watch(ours.fileno(), reading=True, writing=True)
    while not listening.told:
        await trio.lowlevel.checkpoint()
    reactor.watch(ours.fileno(), reading=True, writing=False)
    told = len(listening.told)
    await wait_all_tasks_blocked()
    assert listening.told == ["writable"] * told
    nursery.cancel_scope.cancel()


class Cutting(Listening):
    """Takes another one out as soon as it hears something."""

    def __init__(self, sock: socket.socket, reactor: Reactor, other: socket.socket) -> None:
        super().__init__(sock)
        self.reactor = reactor
        self.other = other

    def on_readable(self) -> None:
        """Read, and take the other out."""
        super().on_readable()
        self.reactor.remove(self.other.fileno())


async def test_who_was_taken_out_within_a_pass_is_not_told(nursery: trio.Nursery, sockets: ExitStack) -> None:
    """Two that take each other out: whoever comes first is the only one."""
    reactor = Reactor(FlushScheduler(), Metrics(), rest=0.0)
    ours, theirs = pair(sockets)
    mine, yours = pair(sockets)
    both = Cutting(ours, reactor, mine), Cutting(mine, reactor, ours)
    reactor.add(ours.fileno(), both[0])
    reactor.add(mine.fileno(), both[1])
    theirs.send(b"x")
    yours.send(b"x")
    nursery.start_soon(reactor.run)
    await wait_all_tasks_blocked()
    assert sorted(len(each.told) for each in both) == [0, 1]
    nursery.cancel_scope.cancel()


class Ringing(Listening):
    """Asks to be flushed for what it hears."""

    def __init__(self, sock: socket.socket, flush_scheduler: FlushScheduler) -> None:
        super().__init__(sock)
        self.flush_scheduler = flush_scheduler

    def on_readable(self) -> None:
        """Read, and ring twice."""
        super().on_readable()
        self.flush_scheduler.request(self)
        self.flush_scheduler.request(self)

    def flush(self) -> None:
        """Note it."""
        self.told.append("flush")


@pytest.mark.parametrize(("ready", "flushes"), [(BUSY - 1, 2), (BUSY, 1)])
async def test_a_busy_pass_flushes_once(nursery: trio.Nursery, sockets: ExitStack, ready: int, flushes: int) -> None:
    """A quiet one does so for each frame, since there is nothing to gather."""
    flush_scheduler, metrics = FlushScheduler(), Metrics()
    reactor = Reactor(flush_scheduler, metrics, rest=0.0)
    pairs = [pair(sockets) for _ in range(ready)]
    ringing = [Ringing(ours, flush_scheduler) for ours, _ in pairs]
    for each, (ours, theirs) in zip(ringing, pairs, strict=True):
        reactor.add(ours.fileno(), each)
        theirs.send(b"x")
    nursery.start_soon(reactor.run)
    await wait_all_tasks_blocked()
    assert [each.told.count("flush") for each in ringing] == [flushes] * ready
    assert metrics.reactor_events == ready
    nursery.cancel_scope.cancel()


async def test_a_pass_is_bounded(nursery: trio.Nursery, sockets: ExitStack) -> None:
    """However many are ready, others get their turn in between, and nobody is left out."""
    metrics = Metrics()
    reactor = Reactor(FlushScheduler(), metrics, rest=0.0)
    pairs = [pair(sockets) for _ in range(EVENTS_PER_PASS + 1)]
    listening = [Listening(ours) for ours, _ in pairs]
    for each, (ours, theirs) in zip(listening, pairs, strict=True):
        reactor.add(ours.fileno(), each)
        theirs.send(b"x")
    nursery.start_soon(reactor.run)
    await wait_all_tasks_blocked()
    assert all(each.read == b"x" for each in listening)
    assert metrics.reactor_passes == 2
    nursery.cancel_scope.cancel()


async def test_a_task_that_waits_is_cancelled_without_a_trace(nursery: trio.Nursery, sockets: ExitStack) -> None:
    """Its scope's end wakes it, and what comes later finds nobody and is heard when somebody waits again."""
    reactor = Reactor(FlushScheduler(), Metrics(), rest=0.0)
    nursery.start_soon(reactor.run)
    ours, theirs = pair(sockets)
    waiter = Waiter(reactor, ours.fileno())
    with trio.CancelScope() as scope:
        nursery.start_soon(cancel_when_blocked, scope)
        await waiter.wait()
    assert scope.cancelled_caught
    theirs.send(b"x")
    await wait_all_tasks_blocked()
    await waiter.wait()
    assert ours.recv(4) == b"x"
    nursery.cancel_scope.cancel()


async def test_who_waits_longer_than_the_reactor_lives_is_still_told(nursery: trio.Nursery, sockets: ExitStack) -> None:
    """A node that is cancelled as a whole says its last words all the same, and hears the answer."""
    reactor = Reactor(FlushScheduler(), Metrics(), rest=0.0)
    ours, theirs = pair(sockets)
    waiter = Waiter(reactor, ours.fileno())
    heard = trio.Event()

    async def wait() -> None:
        await waiter.wait()  # until the reactor stops
        await waiter.wait()  # until there is something
        heard.set()

    nursery.start_soon(wait)
    with trio.CancelScope() as scope:
        nursery.start_soon(cancel_when_blocked, scope)
        await reactor.run()
    await wait_all_tasks_blocked()
    assert not heard.is_set()
    theirs.send(b"x")
    await heard.wait()
    assert ours.recv(4) == b"x"


async def cancel_when_blocked(scope: trio.CancelScope) -> None:
    """Cancel a scope when nobody has anything to do."""
    await wait_all_tasks_blocked()
    scope.cancel()


async def test_a_busy_node_rests_between_passes(
    nursery: trio.Nursery, sockets: ExitStack, autojump_clock: MockClock
) -> None:
    """Sockets that become ready one by one, close together, are served together after a while."""
    metrics = Metrics()
    reactor = Reactor(FlushScheduler(), metrics, rest=1.0)
    nursery.start_soon(reactor.run)
    pairs = [pair(sockets) for _ in range(2)]
    for ours, _ in pairs:
        reactor.add(ours.fileno(), Listening(ours))
    for turn in range(PASSES_UNTIL_REST + 1):
        pairs[turn % 2][1].send(b"x")
        await wait_all_tasks_blocked()
    passes, events = metrics.reactor_passes, metrics.reactor_events
    for _, theirs in pairs:
        theirs.send(b"x")
        await wait_all_tasks_blocked()
    assert metrics.reactor_passes == passes
    await trio.sleep(2.0)  # longer than the rest, in time that jumps
    assert (metrics.reactor_passes, metrics.reactor_events) == (passes + 1, events + 2)
    nursery.cancel_scope.cancel()


async def test_one_busy_socket_is_never_waited_for(
    nursery: trio.Nursery, sockets: ExitStack, autojump_clock: MockClock
) -> None:
    """Who writes without a pause is served without one: nobody else's frames could be gathered with his."""
    metrics = Metrics()
    reactor = Reactor(FlushScheduler(), metrics, rest=1.0)
    nursery.start_soon(reactor.run)
    ours, theirs = pair(sockets)
    reactor.add(ours.fileno(), Listening(ours))
    for _ in range(3 * PASSES_UNTIL_REST):
        theirs.send(b"x")
        await wait_all_tasks_blocked()
    assert metrics.reactor_passes == 3 * PASSES_UNTIL_REST
    nursery.cancel_scope.cancel()
