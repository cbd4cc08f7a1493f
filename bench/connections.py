"""All connections of the load to one server, on one epoll in one thread, none of which ever waits for another."""

import gc
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Final, Self, TypeVar

from loadtest.client.epoll import Connection, Engine, Protocol
from loadtest.client.websocket import ServerFault

ADDRESSES: Final = 64  # to connect from, 127.0.1.1 and on: each has some 28,000 ports of its own
CONNECT_DEADLINE: Final = 180.0
_EACH_NETWORK: Final = 250
_GLANCE: Final = 0.05


class Client(Protocol):
    """One connection's side of a protocol. `receive` raises ServerFault, for the end of the connection as well."""

    __slots__ = ("connection", "number", "ready")

    def __init__(self, number: int) -> None:
        self.number = number
        self.ready = False  # to send messages
        self.connection: Connection

    def lost(self, reason: str) -> None:
        """Raises ServerFault."""
        raise ServerFault(f"connection {self.number} broke: {reason}")


C = TypeVar("C", bound=Client)


class Connections(Engine):
    """Connections to one server, until the block is left."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None, *, addresses: int = ADDRESSES) -> None:
        """They come from so many `addresses` in turn, because a relay limits what one address may do."""
        super().__init__(self._on_fault)
        self._forgiving = False  # whether a connection that breaks is only closed: a server is killed on purpose
        self._server, self._tls = ("127.0.0.1", port), tls
        self._addresses, self._opened = addresses, 0

    def open(
        self, clients: Iterable[C], *, at_once: int = 64, on_ready: Callable[[float], None] = lambda _: None
    ) -> list[C]:
        """Connect all clients, `at_once` of them in a handshake at a time: below every server's backlog.

        `on_ready` is called for each with the seconds since its connect. Raises ServerFault when the server refuses,
        or some are not ready after three minutes.
        """
        end, waiting = time.monotonic() + CONNECT_DEADLINE, iter(clients)
        opening, ready = list[tuple[C, float]](), list[C]()
        while True:
            for client in islice(waiting, at_once - len(opening)):
                self._connect(client)
                opening.append((client, time.monotonic()))
            if not opening:
                return ready
            self.poll(_GLANCE)
            now, before, opening = time.monotonic(), opening, []
            for client, began in before:
                if client.ready:
                    ready.append(client)
                    on_ready(now - began)
                else:
                    opening.append((client, began))
            if now > end:
                raise ServerFault(f"only {len(ready)} connections were ready in {CONNECT_DEADLINE:.0f} s")

    def poll_for(self, seconds: float) -> None:
        """Serve the connections for so many seconds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.poll(left)

    def drain(self, seconds: float) -> None:
        """Read until the server has closed all connections, for so many seconds at most."""
        self._forgiving, end = True, time.monotonic() + seconds
        while self.connections and time.monotonic() < end:
            self.poll(_GLANCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self, client: Client) -> None:
        place = self._opened % self._addresses
        self._opened += 1
        source = f"127.0.{1 + place // _EACH_NETWORK}.{1 + place % _EACH_NETWORK}"
        client.connection = Connection(self, client)
        client.connection.connect(self._server, source=source, tls=self._tls, host="localhost")

    def _on_fault(self, connection: Connection) -> None:
        if not self._forgiving:
            raise  # noqa: PLE0704 - the engine calls this inside its `except`
        connection.close()


@contextmanager
def quiet_collector() -> Iterator[None]:
    """Keep Python's collector away while something is measured; nothing here makes cycles."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
