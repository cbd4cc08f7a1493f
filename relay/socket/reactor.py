"""Readiness for every established socket: one level-triggered epoll under Trio, and one task that drains it.

Why not Trio's own: it registers a socket anew for each wait, and reads once in vain before that. On a busy node these
system calls cost more than what is done with the message. Here a socket is registered once for its life, and Trio waits
for one descriptor, the epoll itself.
"""

import select
from typing import Any, Final, NoReturn, Protocol

import trio

from relay.metrics.counters import Metrics
from relay.socket.flush_scheduler import FlushScheduler

EVENTS_PER_PASS: Final = 256
"""Sockets served between two checkpoints, 64 KiB of each at the most: some 10 ms when all have small messages."""
HURRY: Final = 0.0025
"""Seconds between two passes. Closer, and each serves a socket or two for what it costs to wake up a loop."""
HURRIED: Final = 8
"""Such passes in a row until there is a rest after each, for as long as more than one socket is ready after it."""
BUSY: Final = 4
"""Ready sockets from which on a pass gathers what it has to send."""

_READ: Final = select.EPOLLIN
_WRITE: Final = select.EPOLLOUT


class Source(Protocol):
    """What is registered: plain functions that raise nothing. An error on the socket shows as readable."""

    def on_readable(self) -> None:
        """There is something to read, or the end."""

    def on_writable(self) -> None:
        """The kernel takes more. Called only while it is asked for."""

    def on_stopped(self) -> None:
        """Nothing will be told any more."""


class Waiter:
    """A task that reads for itself: at the beginning and at the end of a connection."""

    __slots__ = ("_descriptor", "_reactor", "_task")

    def __init__(self, reactor: "Reactor", descriptor: int) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._task: trio.lowlevel.Task | None = None
        reactor.add(descriptor, self)

    async def wait(self) -> None:
        """Return when there may be something to read, or the end. A checkpoint; the deadline is the caller's."""
        if self._reactor.stopped:
            # When a node is cancelled as a whole, last words are said after the reactor has gone.
            await trio.lowlevel.wait_readable(self._descriptor)
            return
        self._reactor.watch(self._descriptor, reading=True, writing=False)
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def on_readable(self) -> None:
        """Wake the task; while it does something else, hear no more of this."""
        if self._task is None:
            self._reactor.watch(self._descriptor, reading=False, writing=False)
        else:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    def on_writable(self) -> None:
        """Never asked for."""

    def on_stopped(self) -> None:
        """Wake the task, to wait in another way."""
        if self._task is not None:
            self.on_readable()

    def _abort(self, _: Any) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED


class Reactor:
    """The sockets of one node, by descriptor."""

    def __init__(self, flush_scheduler: FlushScheduler, metrics: Metrics, *, rest: float) -> None:
        """`rest` is the seconds between two passes of a busy node."""
        self._flush_scheduler = flush_scheduler
        self._metrics = metrics
        self._rest = rest
        self._epoll = select.epoll()
        self._sources: dict[int, Source] = {}
        self._watched: dict[int, int] = {}
        self._hurried = 0
        self._latest = -1
        self.stopped = False
        self.now = trio.current_time()
        """Trio's time at the beginning of the pass: one reading of the clock for all that is in it."""

    def __len__(self) -> int:
        return len(self._sources)

    def add(self, descriptor: int, source: Source) -> None:
        """Tell a source from now on when its socket is readable; it takes over from who was told before."""
        self._sources[descriptor] = source
        self.watch(descriptor, reading=True, writing=False)

    def watch(self, descriptor: int, *, reading: bool, writing: bool) -> None:
        """Change what its source is told of: one of both, both, or nothing at all."""
        wanted = _READ * reading | _WRITE * writing
        if wanted == self._watched.get(descriptor, 0):
            return
        if not wanted:
            # Not merely an empty mask: the end of a connection is reported whatever was asked for, again and again.
            self._epoll.unregister(descriptor)
            del self._watched[descriptor]
            return
        if descriptor in self._watched:
            self._epoll.modify(descriptor, wanted)
        else:
            self._epoll.register(descriptor, wanted)
        self._watched[descriptor] = wanted

    def remove(self, descriptor: int) -> None:
        """Tell nobody any more. To be called before the socket is closed."""
        self.watch(descriptor, reading=False, writing=False)
        self._sources.pop(descriptor, None)

    async def run(self) -> NoReturn:
        """Serve the sockets for as long as the node lives."""
        try:
            await self._run()
        finally:
            # The epoll is not closed: connections take themselves out of it until the last one is gone.
            self.stopped = True
            for source in tuple(self._sources.values()):
                source.on_stopped()

    async def _run(self) -> NoReturn:
        while True:
            # Without a deadline: all may be silent. What a pass has left over makes it readable at once.
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            ready = self._epoll.poll(0, EVENTS_PER_PASS)
            self._begin_pass(ready)
            if len(ready) < BUSY:
                self._serve(ready)
            else:
                with self._flush_scheduler.gather():
                    self._serve(ready)
            if self._hurried == HURRIED:
                await trio.sleep(self._rest)

    def _begin_pass(self, ready: list[tuple[int, int]]) -> None:
        now, events = trio.current_time(), len(ready)
        if self._hurried == HURRIED:
            self._hurried = HURRIED if events > 1 else 0  # the rest was worth it, or it was not
        elif events:
            # One socket alone, however busy, is not worth waiting for: there is nobody to wait for.
            hurry = now - self.now < HURRY and ready[0][0] != self._latest
            self._hurried = self._hurried + 1 if hurry else 0
            self._latest = ready[0][0]
        self.now = now
        self._metrics.reactor_passes += 1
        self._metrics.reactor_events += events

    def _serve(self, ready: list[tuple[int, int]]) -> None:
        for descriptor, events in ready:
            source = self._sources.get(descriptor)
            if source is None:
                continue  # one before it in this pass has cut it
            if events & _WRITE:
                source.on_writable()
            if events & ~_WRITE:
                source.on_readable()
