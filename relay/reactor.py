"""Readiness for every established socket: one level-triggered epoll under Trio, and one task that drains it.

Refuses to know what is read or written, and to run longer than a pass before others get their turn.

Why not Trio's own: it registers a socket anew for each wait, and reads once in vain before that. On a busy node these
system calls cost more than what is done with the message. Here a socket is registered once for its life, and Trio waits
for one descriptor, the epoll itself.
"""

import select
from typing import Final, NoReturn, Protocol

import trio

from relay.flushing import Flushing

EVENTS_PER_PASS: Final = 256
"""Sockets served between two checkpoints. Each may bring 64 KiB, so a pass of small messages takes some 10 ms at most."""
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


class Reactor:
    """The sockets of one node, by descriptor."""

    def __init__(self, flushing: Flushing) -> None:
        self._flushing = flushing
        self._epoll = select.epoll()
        self._sources: dict[int, Source] = {}
        self.now = trio.current_time()
        """Trio's time at the beginning of the pass: one reading of the clock for all that is in it."""
        self.passes = 0
        self.events = 0

    def __len__(self) -> int:
        return len(self._sources)

    def add(self, descriptor: int, source: Source) -> None:
        """Tell a source from now on when its socket is readable."""
        self._epoll.register(descriptor, _READ)
        self._sources[descriptor] = source

    def watch(self, descriptor: int, *, reading: bool, writing: bool) -> None:
        """Change what a source is told of: both, one, or nothing but the end of the connection."""
        if descriptor in self._sources:
            self._epoll.modify(descriptor, _READ * reading | _WRITE * writing)

    def remove(self, descriptor: int) -> None:
        """Tell it no more. To be called before the socket is closed; nothing happens the second time."""
        if self._sources.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    async def run(self) -> NoReturn:
        """Serve the sockets for as long as the node lives."""
        # The epoll is never closed by hand: connections take themselves out of it until the last one is gone.
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())  # without a deadline: all may be silent
            while ready := self._epoll.poll(0, EVENTS_PER_PASS):
                self._begin_pass(len(ready))
                if len(ready) < BUSY:
                    self._serve(ready)
                else:
                    with self._flushing.gather():
                        self._serve(ready)
                await trio.lowlevel.checkpoint()

    def _begin_pass(self, events: int) -> None:
        self.now = trio.current_time()
        self.passes += 1
        self.events += events

    def _serve(self, ready: list[tuple[int, int]]) -> None:
        for descriptor, events in ready:
            source = self._sources.get(descriptor)
            if source is None:
                continue  # one before it in this pass has cut it
            if events & _WRITE:
                source.on_writable()
            if events & ~_WRITE:
                source.on_readable()
