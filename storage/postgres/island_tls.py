"""TLS to Postgres that can be handed over with its socket: asyncpg speaks through it, and Trio goes on with it.

asyncpg reads the URL, asks for TLS, authenticates, and tries again as `sslmode` allows. Only the layer in between is
ours, because nobody can take that of asyncio out of its transport.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable
from typing import Any

from tls.connection import Tls, TlsFault, open_buffers


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """A transport to the protocol above it, and a protocol to the socket's transport below it."""

    def __init__(self, below: asyncio.Transport, context: ssl.SSLContext, server: str) -> None:
        super().__init__()
        # Buffers of its own: they go over to another thread with it.
        self.tls = Tls(context, open_buffers(), server=server)
        self._below = below
        self._above: asyncio.Protocol | None = None
        self._failure: Exception | None = None
        self._heard = False
        self._established: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def begin(self) -> None:
        """Go through the handshake. Raises ConnectionError."""
        self._below.set_protocol(self)
        self._below.write(self.tls.begin())
        await self._established

    def data_received(self, data: bytes) -> None:
        """Take in what came from the server."""
        try:
            plaintext = self.tls.receive(data)
        except TlsFault as fault:
            self._failure = ConnectionError(f"TLS with the database: {fault}")
            plaintext = b""
        self._below.write(self.tls.take_bytes())  # after a fault, the alert that says why
        if self.tls.established and not self._established.done():
            self._established.set_result(None)
        if plaintext and self._above is not None:
            self._heard = True
            self._above.data_received(plaintext)
        if self.tls.ended:
            self._below.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits, or the protocol above."""
        failure = self._failure or exc
        if self._failure is None and self.tls.established and not self._heard:
            # Its alert is lost when what we had sent already resets the connection.
            failure = ConnectionError("the database hung up after the TLS handshake: does it take our certificate?")
        if not self._established.done():
            self._established.set_exception(failure or ConnectionError("the database hung up in the TLS handshake"))
        elif self._above is not None:
            self._above.connection_lost(failure)

    def pause_writing(self) -> None:
        """Pass it on."""
        if self._above is not None:
            self._above.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        if self._above is not None:
            self._above.resume_writing()

    def set_protocol(self, protocol: Any) -> None:
        """Have another one above."""
        self._above = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the socket. asyncpg asks whether there is TLS by the name of `ssl_object`."""
        return self.tls if name == "ssl_object" else self._below.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Seal and send."""
        self._below.write(self.tls.seal(bytes(data)))

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Seal and send all of it."""
        self.write(b"".join(list_of_data))

    def pause_reading(self) -> None:
        """Pass it on."""
        self._below.pause_reading()

    def resume_reading(self) -> None:
        """Pass it on."""
        self._below.resume_reading()

    def is_closing(self) -> bool:
        """Whether the socket is about to be closed."""
        return self._below.is_closing()

    def close(self) -> None:
        """Say goodbye and close."""
        if not self._below.is_closing():
            self._below.write(self.tls.close())
            self._below.close()

    def abort(self) -> None:
        """Close the socket and say nothing: its other descriptor may go on."""
        self._below.abort()


class TlsLoop:
    """The island's loop, as asyncpg is to see it: whatever it asks for, TLS is a `TlsTransport`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(
        self, factory: Callable[[], Any], host: str, port: int, ssl: ssl.SSLContext | None = None
    ) -> tuple[Any, Any]:
        """Connect; with `ssl`, TLS comes first (`sslnegotiation=direct`)."""
        if ssl is None:
            return await self._loop.create_connection(factory, host, port)
        below, _ = await self._loop.create_connection(asyncio.Protocol, host, port)
        transport = await self.start_tls(below, None, ssl, server_hostname=host)
        protocol = factory()
        protocol.connection_made(transport)
        transport.set_protocol(protocol)
        return transport, protocol

    async def start_tls(
        self, below: Any, _protocol: Any, context: ssl.SSLContext, *, server_hostname: str
    ) -> TlsTransport:
        """Begin TLS on a connection. Raises ConnectionError."""
        transport = TlsTransport(below, context, server_hostname)
        try:
            await transport.begin()
        except BaseException:
            below.abort()
            raise
        return transport
