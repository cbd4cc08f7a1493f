"""A text bus within one process: several nodes on one wire, which a test may cut."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager

import trio

from storage.bus.text_bus import BusDown, Receive, Resync, refuse_misuse


class Wire:
    """What all nodes hang on."""

    def __init__(self) -> None:
        self.buses: list[TextBus] = []

    @asynccontextmanager
    async def open_bus(self) -> AsyncIterator["TextBus"]:
        """One more node, as long as the block runs."""
        with trio.CancelScope() as scope:
            bus = TextBus(self, scope)
            self.buses.append(bus)
            try:
                yield bus
            finally:
                bus.closed = True
                self.buses.remove(bus)
        if bus.fault is not None:
            raise bus.fault

    async def cut(self) -> None:
        """Lose every connection, and find it again: whatever was on its way may be gone."""
        await trio.lowlevel.checkpoint()
        for bus in tuple(self.buses):
            bus.ring(None)


class TextBus:
    """One node's bus."""

    connected = True

    def __init__(self, wire: Wire, scope: trio.CancelScope) -> None:
        self.fault: Exception | None = None
        self.closed = False
        self._wire = wire
        self._scope = scope
        self._listeners: list[tuple[Receive, Resync]] = []

    async def publish(self, payloads: Sequence[str]) -> None:
        """Call every listener of every node before returning."""
        refuse_misuse(payloads)
        await trio.lowlevel.checkpoint()
        if self.closed:
            raise BusDown("the bus is closed")
        for payload in dict.fromkeys(payloads):
            for bus in tuple(self._wire.buses):
                bus.ring(payload)

    def listen(self, receive: Receive, resync: Resync) -> AbstractContextManager[None]:
        """Call `receive` with every payload until the block ends."""
        return self._listen((receive, resync))

    @contextmanager
    def _listen(self, listener: tuple[Receive, Resync]) -> Iterator[None]:
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def ring(self, payload: str | None) -> None:
        """Tell every listener here; None means that something may have been missed."""
        for listener in tuple(self._listeners):
            receive, resync = listener
            try:
                if listener in self._listeners:
                    _ = resync() if payload is None else receive(payload)
            except Exception as error:  # noqa: BLE001  a listener's fault ends its bus, not its publisher
                self.fault = self.fault or error
                self._scope.cancel()
