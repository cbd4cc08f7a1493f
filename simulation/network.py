"""Sockets in memory: what the relay's reactor and listeners use in the place of the kernel, and the client's end.

A link has a latency, and may be stalled (what is sent waits, as TCP would repeat it later), cut (both ends get a
reset), or silenced (one end is gone, and the other never hears of it). Bytes on a link are never lost and never
overtake each other: that is TCP's promise, so breaking it would find bugs that cannot happen.
"""

import select
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from random import Random
from typing import Any, Final

import trio

import relay.node
from simulation.determinism import call_at, replaced
from simulation.epoll import Epoll, Pollable

RECORDED: Final = 2
"""Writes of a client, for whoever replays them: the request of the upgrade, and the first message of the handshake."""
CAPACITY: Final = 65_536
"""Bytes on their way in one direction: what the kernels of both ends hold."""


class Pipe:
    """One direction of a link: bytes under way, then bytes that were delivered."""

    def __init__(self) -> None:
        self.under_way: list[bytes] = []
        self.delivered = bytearray()
        self.size = 0
        self.ended = False
        """Whether the end of the stream was delivered, behind all bytes."""


class Link:
    """A connection between a client and a node."""

    def __init__(self, network: "Network", owner: str, node: str, latency: float) -> None:
        self.owner, self.node, self.latency = owner, node, latency
        self.network = network
        self.up, self.down = Pipe(), Pipe()
        self.stalled_until = 0.0
        self.reset = False
        self.silent = False
        self.recorded: list[bytes] = []
        """What the client sent first, the upgrade and its first Noise message: for somebody who sends it again."""
        self.server = ServerSocket(self)
        self.client = ClientStream(self)

    def put(self, pipe: Pipe, data: bytes) -> None:
        """Send bytes, or the end of the stream when there are none."""
        pipe.size += len(data)
        pipe.under_way.append(data)
        call_at(trio.current_time() + self.latency, lambda: self.deliver(pipe))

    def deliver(self, pipe: Pipe) -> None:
        """Let the oldest on its way arrive, unless the link is stalled. Called once for each `put`, in their order."""
        if self.silent:
            return
        if trio.current_time() < self.stalled_until:
            call_at(self.stalled_until, lambda: self.deliver(pipe))
            return
        # Nothing is under way when `wake` was faster: its call delivered what this one was made for.
        if pipe.under_way:
            data = pipe.under_way.pop(0)
            pipe.delivered += data
            pipe.ended = pipe.ended or not data
            self.changed()

    def cut(self) -> None:
        """Reset both ends at once."""
        self.reset = True
        self.changed()

    def changed(self) -> None:
        """Let both ends look again."""
        self.server.changed()
        self.client.waiting.unpark_all()


class ServerSocket(Pollable):
    """The node's end: what it calls on a non-blocking `socket.socket`."""

    def __init__(self, link: Link) -> None:
        super().__init__(link.network)
        self._link = link
        self._closed = False

    def readable(self) -> bool:
        """Whether there is something, or the end."""
        return bool(self._link.up.delivered) or self._link.up.ended or self._link.reset

    def writable(self) -> bool:
        """Whether there is room on the link."""
        return self._link.down.size < CAPACITY or self._link.reset

    def recv(self, most: int) -> bytes:
        """Read what has arrived. Raises BlockingIOError."""
        if self._link.reset:
            raise ConnectionResetError
        pipe = self._link.up
        if not pipe.delivered and not pipe.ended:
            raise BlockingIOError
        data = bytes(pipe.delivered[:most])
        del pipe.delivered[:most]
        pipe.size -= len(data)
        self._link.client.waiting.unpark_all()
        return data

    def send(self, data: bytes, _: int = 0) -> int:
        """Write what there is room for."""
        if self._link.reset or self._closed:
            raise BrokenPipeError
        room = CAPACITY - self._link.down.size
        if room <= 0:
            raise BlockingIOError
        self._link.put(self._link.down, data[:room])
        return min(room, len(data))

    def shutdown(self, _: int) -> None:
        """End the stream towards the client."""
        self._link.put(self._link.down, b"")

    def close(self) -> None:
        """Close. With unread bytes the kernel resets (RFC 9293 section 3.10.7.4), or else the client reads the end."""
        if not self._closed:
            self._closed = True
            if self._link.up.delivered:
                self._link.cut()
            else:
                self._link.put(self._link.down, b"")
            self._link.network.links.pop(self._link, None)

    def setblocking(self, _: bool) -> None:  # noqa: FBT001 - as `socket.socket` has it
        """Nothing."""

    def setsockopt(self, *_: object) -> None:
        """Nothing."""


class ClientStream(trio.abc.HalfCloseableStream):
    """The client's end, as Trio's streams are."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._closed = False
        self.waiting = trio.lowlevel.ParkingLot()
        self.reads_from = 0.0
        """A slow peer reads nothing before this time."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write everything, waiting for room."""
        await trio.lowlevel.checkpoint()
        while self._link.up.size >= CAPACITY and not self._link.reset:
            await self.waiting.park()
        self._refuse_closed()
        if len(self._link.recorded) < RECORDED:
            self._link.recorded.append(bytes(data))
        self._link.put(self._link.up, bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        """Nothing: links are wide."""
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        """End the stream towards the node."""
        self._link.put(self._link.up, b"")
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read what there is, at least a byte; nothing at the end."""
        await trio.lowlevel.checkpoint()
        while self.reads_from > trio.current_time() and not self._closed:
            with trio.move_on_at(self.reads_from):
                await self.waiting.park()
        pipe = self._link.down
        while not (pipe.delivered or pipe.ended or self._link.reset or self._closed):
            await self.waiting.park()
        self._refuse_closed()
        data = bytes(pipe.delivered[:max_bytes])
        del pipe.delivered[: len(data)]
        pipe.size -= len(data)
        self._link.server.changed()
        return data

    async def aclose(self) -> None:
        """Close, and let the node read the end."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """The same at once: the kernel does it for a process that dies."""
        if not self._closed:
            self._closed = True
            self._link.put(self._link.up, b"")
            self.waiting.unpark_all()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        if self._link.reset:
            raise trio.BrokenResourceError


class Listener(Pollable):
    """A listening socket, as `relay.socket.listeners` uses one."""

    def __init__(self, network: "Network", host: str) -> None:
        super().__init__(network)
        self._listeners = network.listeners
        self._host = host
        self._queue: list[ServerSocket] = []

    def readable(self) -> bool:
        """Whether somebody waits to be accepted."""
        return bool(self._queue)

    def put(self, sock: ServerSocket) -> None:
        """A client connects."""
        self._queue.append(sock)
        self.changed()

    def accept(self) -> tuple[ServerSocket, tuple[str, int]]:
        """Return the next one, and its address."""
        if not self._queue:
            raise BlockingIOError
        return self._queue.pop(0), ("192.0.2.1", 1)

    def getsockname(self) -> tuple[str, int]:
        """Return where it listens."""
        return self._host, 1

    def close(self) -> None:
        """Nobody can connect any more."""
        self._listeners.pop(self._host, None)


class Network:
    """All links and listeners, and the time at which something arrives."""

    def __init__(self, random: Random) -> None:
        self.pollables: dict[int, Pollable] = {}
        self.listeners: dict[str, Listener] = {}
        # A dict: a set of objects is ordered by their addresses, which are others in each process.
        self.links: dict[Link, None] = {}
        self._random = random

    def connect(self, owner: str, node: str) -> ClientStream:
        """Connect somebody to a node. Raises ConnectionRefusedError."""
        listener = self.listeners.get(node)
        if listener is None:
            raise ConnectionRefusedError
        link = Link(self, owner, node, self._random.uniform(0.005, 0.08))
        self.links[link] = None
        call_at(trio.current_time() + link.latency, lambda: listener.put(link.server))
        return link.client

    def wake(self, link: Link) -> None:
        """Deliver now what a stall held back, and let a slow peer read."""
        for pipe in (link.up, link.down):
            for _ in pipe.under_way:
                call_at(trio.current_time(), partial(link.deliver, pipe))
        link.changed()

    def links_of(self, *, owner: str = "", node: str = "") -> list[Link]:
        """Return the open links of a client, or of a node, or of both."""
        return [each for each in self.links if owner in ("", each.owner) and node in ("", each.node)]

    def kill_node(self, node: str, *, silent: bool) -> None:
        """The process of a node dies, and the kernel resets; or its machine does, and nobody says anything."""
        self.listeners.pop(node, None)
        for link in self.links_of(node=node):
            link.silent = silent
            if not silent:
                link.cut()
            del self.links[link]

    def _listen(self, host: str) -> list[Listener]:
        self.listeners[host] = Listener(self, host)
        return [self.listeners[host]]

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Have nodes use this network, until the block ends."""

        async def open_listeners(host: str, port: int, *, reuse_port: bool = False) -> list[Listener]:  # noqa: ARG001
            await trio.lowlevel.checkpoint()
            return self._listen(host)

        def find(fd: Any) -> Pollable | None:
            return self.pollables.get(fd if isinstance(fd, int) else fd.fileno())

        async def wait_readable(fd: Any) -> None:
            found = find(fd)
            await (real_readable(fd) if found is None else found.wait(found.readable))

        async def wait_writable(fd: Any) -> None:
            found = find(fd)
            await (real_writable(fd) if found is None else found.wait(found.writable))

        def notify_closing(fd: Any) -> None:
            if find(fd) is None:
                real_closing(fd)

        lowlevel = trio.lowlevel
        real_readable, real_writable = lowlevel.wait_readable, lowlevel.wait_writable
        real_closing = lowlevel.notify_closing
        with ExitStack() as stack:
            stack.enter_context(replaced(relay.node, "open_listeners", open_listeners))
            stack.enter_context(replaced(select, "epoll", lambda: Epoll(self)))
            stack.enter_context(replaced(lowlevel, "wait_readable", wait_readable))
            stack.enter_context(replaced(lowlevel, "wait_writable", wait_writable))
            stack.enter_context(replaced(lowlevel, "notify_closing", notify_closing))
            yield
