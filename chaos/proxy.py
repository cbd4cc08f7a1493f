"""A TCP proxy between two parts that makes the network bad: slow, shaky, silent, cut, half closed, sliced, narrow."""

import os
import random
import socket
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias

import trio

CHUNK: Final = 64 * 1024
IN_FLIGHT: Final = 256
"""Chunks on the way in one direction: like a network, it holds a bounded number of bytes."""
GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends a reset instead of the orderly end."""

Connect: TypeAlias = Callable[[], Awaitable[trio.SocketStream]]
"""Opens a connection to the part behind the proxy."""


@dataclass(slots=True)
class Conditions:
    """How bad the network is. Seconds and bytes; the default is a good one."""

    latency: float = 0.0
    """One way."""
    jitter: float = 0.0
    """At the most so much more. Order is kept, as TCP does."""
    slice_bytes: int = CHUNK
    """A write becomes writes of so many bytes."""
    bytes_per_second: float = float("inf")


@dataclass(slots=True)
class Link:
    """One proxy. Faults change `conditions`, stall it, or act on the connections that are open now."""

    connect: Connect
    dice: random.Random
    conditions: Conditions = field(default_factory=Conditions)
    port: int = 0
    refuses: bool = False
    """Whether new connections are reset at once."""
    _open: set[tuple[trio.SocketStream, trio.SocketStream]] = field(default_factory=set)
    _flowing: trio.Event = field(default_factory=trio.Event)

    def __post_init__(self) -> None:
        self._flowing.set()

    def stall(self) -> None:
        """Let nothing through, in either direction, and tell nobody: as when a cable is pulled."""
        self._flowing = trio.Event()

    def flow(self) -> None:
        """Let through what has gathered."""
        self._flowing.set()

    def reset(self) -> None:
        """Cut every connection with a reset, on both sides."""
        for pair in self._open:
            for stream in pair:
                with suppress(*GONE):
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                stream.socket.close()

    def half_close(self) -> None:
        """End every connection in one direction only: from the clients to the part behind."""
        for _, server in self._open:
            with suppress(*GONE):
                # Not `send_eof`, which wants nobody to be sending: the network does not ask.
                server.socket.shutdown(socket.SHUT_WR)

    async def serve(self, client: trio.SocketStream) -> None:
        """Carry one connection until both directions have ended."""
        if self.refuses:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            client.socket.close()
            return
        try:
            server = await self.connect()
        # The part behind is away: the client is hung up on, as by a network that has lost it.
        except (OSError, trio.TooSlowError):
            return
        pair = (client, server)
        self._open.add(pair)
        try:
            async with server, trio.open_nursery() as nursery:
                nursery.start_soon(self._carry, client, server)
                nursery.start_soon(self._carry, server, client)
        finally:
            self._open.discard(pair)

    async def _carry(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        sender, receiver = trio.open_memory_channel[tuple[float, bytes]](IN_FLIGHT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._deliver, receiver, sink)
            async with sender:
                with suppress(*GONE):
                    while chunk := await source.receive_some(CHUNK):
                        delay = self.conditions.latency + self.dice.uniform(0, self.conditions.jitter)
                        await sender.send((trio.current_time() + delay, bytes(chunk)))

    async def _deliver(
        self, receiver: "trio.MemoryReceiveChannel[tuple[float, bytes]]", sink: trio.SocketStream
    ) -> None:
        with suppress(*GONE):
            async with receiver:
                async for due, chunk in receiver:
                    await trio.sleep_until(due)
                    for start in range(0, len(chunk), self.conditions.slice_bytes):
                        piece = chunk[start : start + self.conditions.slice_bytes]
                        await self._flowing.wait()  # without a deadline: whoever stalled it lets it flow again
                        await trio.sleep(len(piece) / self.conditions.bytes_per_second)
                        await sink.send_all(piece)
                await sink.send_eof()


@asynccontextmanager
async def open_link(connect: Connect, dice: random.Random, host: str = "127.0.0.1") -> AsyncIterator[Link]:
    """Listen on a free port of `host`, and carry what comes there to the part behind."""
    link = Link(connect, dice)
    (listener,) = await trio.open_tcp_listeners(0, host=host)
    link.port = listener.socket.getsockname()[1]
    # Small pieces leave at once: the conditions decide when, and not Nagle's algorithm (RFC 896).
    listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, link.serve, [listener])
        yield link
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_delay(port: int, one_way: float) -> AsyncIterator[int]:
    """Carry connections to a port of this machine, so many seconds late each way. Gives the port to connect to.

    Each goes on from the address it came from: a relay limits what one address may do.
    """
    dice, conditions = random.Random(1), Conditions(latency=one_way)  # noqa: S311 - it is not used without jitter

    async def carry(client: trio.SocketStream) -> None:
        source = client.socket.getpeername()[0]
        connect = partial(trio.open_tcp_stream, "127.0.0.1", port, local_address=source)
        await Link(connect, dice, conditions).serve(client)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, carry, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def run_delay(port: int, one_way: float) -> None:
    """Print the port of such a delay, and keep it until standard input ends."""
    async with open_delay(port, one_way) as delayed:
        sys.stdout.write(f"{delayed}\n")
        sys.stdout.flush()
        async with trio.lowlevel.FdStream(os.dup(0)) as ending:
            while await ending.receive_some(1):
                pass


if __name__ == "__main__":
    trio.run(run_delay, int(sys.argv[1]), float(sys.argv[2]))
