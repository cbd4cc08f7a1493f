"""In the place of the kernel's epoll: things with a made-up descriptor that a task or an epoll waits for."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, Protocol

import trio

import relay.socket.reactor

FIRST_DESCRIPTOR: Final = 1_000_000
"""Beyond any real one, so that the real epoll of Trio knows none of them."""
READ: Final = relay.socket.reactor._READ  # noqa: SLF001 - the reactor's own masks
WRITE: Final = relay.socket.reactor._WRITE  # noqa: SLF001


class Pollables(Protocol):
    """Who knows all of them: the network."""

    pollables: dict[int, "Pollable"]


class Pollable(ABC):
    """Something with a descriptor, that a task or an epoll waits for."""

    def __init__(self, network: Pollables) -> None:
        self._network = network
        self.descriptor = FIRST_DESCRIPTOR + len(network.pollables)
        network.pollables[self.descriptor] = self
        self.waiting = trio.lowlevel.ParkingLot()
        self.epoll: Epoll | None = None

    def fileno(self) -> int:
        """Return the made-up descriptor."""
        return self.descriptor

    @abstractmethod
    def readable(self) -> bool:
        """Whether reading would return at once."""

    def writable(self) -> bool:
        """Whether writing would take something."""
        return True

    def changed(self) -> None:
        """Let whoever waits look again."""
        self.waiting.unpark_all()
        if self.epoll is not None:
            self.epoll.waiting.unpark_all()

    async def wait(self, ready: Callable[[], bool]) -> None:
        """Return when it is ready. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while not ready():
            await self.waiting.park()


class Epoll(Pollable):
    """A `select.epoll` over pollables, level-triggered."""

    def __init__(self, network: Pollables) -> None:
        super().__init__(network)
        self._masks: dict[int, int] = {}

    def register(self, descriptor: int, mask: int) -> None:
        """Watch one, or watch it for something else."""
        self._masks[descriptor] = mask
        self._network.pollables[descriptor].epoll = self
        self.waiting.unpark_all()

    modify = register

    def unregister(self, descriptor: int) -> None:
        """Watch it no more."""
        del self._masks[descriptor]
        self._network.pollables[descriptor].epoll = None

    def poll(self, _: float, most: int) -> list[tuple[int, int]]:
        """Return what is ready now, in the order of registration."""
        # The kernel promises no order. This one is the same in each process, which a seed needs.
        ready = [(each, found) for each in self._masks if (found := self._ready(each))]
        return ready[:most]

    def readable(self) -> bool:
        """Whether `poll` would return something."""
        return any(self._ready(each) for each in self._masks)

    def _ready(self, descriptor: int) -> int:
        found, mask = self._network.pollables[descriptor], self._masks[descriptor]
        return (READ if mask & READ and found.readable() else 0) | (WRITE if mask & WRITE and found.writable() else 0)
