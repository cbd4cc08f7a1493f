"""Readiness for every established socket: one level-triggered epoll under Trio, and one task that drains it.

Why not Trio's own `wait_readable`: it registers a socket again for each wait, and a read fails before that. These
system calls cost 20 us a message, more than everything else that is done with it. Here a socket is registered once for
its life, and Trio waits for one descriptor, the epoll itself.
"""

import select
from typing import Any, Final, NoReturn, Protocol

import trio

from relay.metrics.counters import Metrics
from relay.socket.flush_scheduler import FlushScheduler

EVENTS_PER_PASS: Final = 256
"""Sockets served between two checkpoints, at most 64 KiB from each: about 10 ms if all have small messages."""
CLOSE_PASSES: Final = 0.0025
"""Seconds. Passes closer than that serve a socket or two each, and cost as much as waking the loop."""
PASSES_UNTIL_REST: Final = 8
"""Such passes in a row until the reactor rests after each pass, for as long as several sockets are ready after it."""
BUSY: Final = 4
"""Ready sockets from which on a pass gathers its flushes."""

_READ: Final = select.EPOLLIN
_WRITE: Final = select.EPOLLOUT


class Source(Protocol):
    """The owner of a registered socket. Plain functions that raise nothing. A socket with an error is readable."""

    def on_readable(self) -> None:
        """There is something to read, or the end."""

    def on_writable(self) -> None:
        """The kernel takes more. Only called while it is watched for."""

    def on_stopped(self) -> None:
        """The reactor has stopped and calls nothing any more."""


class Waiter:
    """Lets a task wait until it can read: at the beginning and at the end of a connection."""

    __slots__ = ("_descriptor", "_reactor", "_task")

    def __init__(self, reactor: "Reactor", descriptor: int) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._task: trio.lowlevel.Task | None = None
        reactor.add(descriptor, self)

    async def wait(self) -> None:
        """Return when there may be something to read, or the end. A checkpoint; the deadline is the caller's."""
        if self._reactor.stopped:
            # When a whole node is cancelled, connections still close after the reactor has stopped.
            await trio.lowlevel.wait_readable(self._descriptor)
            return
        # There is no checkpoint until the task is parked: what the reactor finds readable meanwhile cannot be missed.
        self._reactor.watch(self._descriptor, reading=True, writing=False)
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def on_readable(self) -> None:
        """Wake the task. While it does something else, stop watching: level-triggered, this would never end."""
        if self._task is None:
            self._reactor.watch(self._descriptor, reading=False, writing=False)
        else:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    def on_writable(self) -> None:
        """Never watched for."""

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
        self._close_passes = 0
        self._latest = -1
        self.stopped = False
        self.now = trio.current_time()
        """Trio's time at the beginning of the pass: one reading of the clock for all that is in it."""

    def __len__(self) -> int:
        return len(self._sources)

    def add(self, descriptor: int, source: Source) -> None:
        """Watch a socket for reading, for this source instead of the one before."""
        self._sources[descriptor] = source
        self.watch(descriptor, reading=True, writing=False)

    def watch(self, descriptor: int, *, reading: bool, writing: bool) -> None:
        """Change what is watched: reading, writing, both, or nothing at all."""
        wanted = _READ * reading | _WRITE * writing
        if wanted == self._watched.get(descriptor, 0):
            return
        if not wanted:
            # An empty mask would not do: epoll reports a hang-up whatever the mask, again and again.
            self._epoll.unregister(descriptor)
            del self._watched[descriptor]
            return
        if descriptor in self._watched:
            self._epoll.modify(descriptor, wanted)
        else:
            self._epoll.register(descriptor, wanted)
        self._watched[descriptor] = wanted

    def remove(self, descriptor: int) -> None:
        """Stop watching a socket. To be called before it is closed."""
        self.watch(descriptor, reading=False, writing=False)
        self._sources.pop(descriptor, None)

    async def run(self) -> NoReturn:
        """Serve the sockets for as long as the node lives."""
        try:
            await self._run()
        finally:
            # The epoll stays open: connections remove themselves from it until the last one has ended.
            self.stopped = True
            for source in tuple(self._sources.values()):
                source.on_stopped()

    async def _run(self) -> NoReturn:
        while True:
            # Without a deadline: all peers may be silent. Sockets that a pass did not reach make it readable at once.
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            ready = self._epoll.poll(0, EVENTS_PER_PASS)
            self._begin_pass(ready)
            if len(ready) < BUSY:
                self._serve(ready)
            else:
                with self._flush_scheduler.gather():
                    self._serve(ready)
            if self._close_passes == PASSES_UNTIL_REST:
                await trio.sleep(self._rest)

    def _begin_pass(self, ready: list[tuple[int, int]]) -> None:
        now, events = trio.current_time(), len(ready)
        if self._close_passes == PASSES_UNTIL_REST:
            self._close_passes = PASSES_UNTIL_REST if events > 1 else 0  # whether the rest was worth it
        elif events:
            # One socket alone, however busy, gains nothing from a rest: nobody else becomes ready meanwhile.
            close = now - self.now < CLOSE_PASSES and ready[0][0] != self._latest
            self._close_passes = self._close_passes + 1 if close else 0
            self._latest = ready[0][0]
        self.now = now
        self._metrics.reactor_passes += 1
        self._metrics.reactor_events += events

    def _serve(self, ready: list[tuple[int, int]]) -> None:
        for descriptor, events in ready:
            source = self._sources.get(descriptor)
            if source is None:
                # Another socket's event ended it. Nobody accepts within a pass, so its number is not another's yet.
                continue
            # Writing first: frames that the reading causes can then go straight to the socket.
            if events & _WRITE:
                source.on_writable()
            if events & ~_WRITE:
                source.on_readable()
