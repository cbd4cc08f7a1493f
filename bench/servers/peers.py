"""The peer servers in Python, each of which does the same work: `python -m bench.servers.peers NAME [PEM KEY]`.

Compression is off, the C speedups are on, keepalive is as by default. Each function imports its library itself: what
one server needs must not weigh on the memory of another.
"""

# ruff: noqa: PLC0415 - see above

import json
import re
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from bench.peer_protocol import ACK, DELIVERY, HELLO, MEMBER, MESSAGE_BYTES, NUMBER, READY, Cipher, NoCipher

HOST: Final = "127.0.0.1"
BACKLOG: Final = 1_024
HELLO_FRAME: Final = 2 + 4 + HELLO.size  # with the head and the key of a masked frame
MESSAGE_FRAME: Final = 4 + 4 + MESSAGE_BYTES
SWITCH: Final = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
)
_RECEIVE_BYTES: Final = 256 * 1024
_PASS: Final = 256
Files = Sequence[str]
"""Paths of PEM files, a certificate and its key; none where it is not to be TLS."""
_ROOMS: Final[dict[int, "list[Member]"]] = {}


def announce(port: int) -> None:
    """Say on stdout, in one line of JSON, that the server listens now."""
    sys.stdout.write(json.dumps({"port": port}) + "\n")
    sys.stdout.flush()


class Member:
    """A member of the room that its hello names: what it is sent on, and its keys."""

    __slots__ = ("_number", "_room", "connection", "decrypt", "encrypt")

    def __init__(self, hello: bytes | memoryview, connection: Any, *, encrypted: bool = True) -> None:
        room, number, *keys = HELLO.unpack(hello)
        sending, receiving = map(Cipher, keys) if encrypted else (NoCipher(), NoCipher())
        self.connection, self._number = connection, MEMBER.pack(number)
        self.decrypt: Callable[[bytes | memoryview], bytes] = sending.decrypt
        self.encrypt: Callable[[bytes], bytes] = receiving.encrypt
        self._room = _ROOMS.setdefault(room, [])
        self._room.append(self)

    def others(self) -> "list[Member]":
        """Return everybody else in the room, as of now."""
        return [member for member in self._room if member is not self]

    def leave(self) -> None:
        """Leave the room."""
        self._room.remove(self)

    def read(self, message: bytes | memoryview) -> tuple[bytes, bytes]:
        """Decrypt a message, and return what the others and what the sender are sent, still to be encrypted."""
        plain = self.decrypt(message)
        return DELIVERY + self._number + plain, ACK + plain[: NUMBER.size]


async def serve_member(
    receive: Callable[[], Awaitable[Any]], send: Callable[[bytes], Awaitable[None]], closed: type[Exception]
) -> None:
    """Serve a connection until `receive` or `send` raises `closed`, under asyncio or Trio."""
    with suppress(closed):
        member = Member(await receive(), send)
        try:
            await send(READY)
            while True:
                delivery, ack = member.read(await receive())
                # In turn: cheaper than a writer task for each connection, though one slow reader holds up the room.
                for other in member.others():
                    with suppress(closed):
                        await other.connection(other.encrypt(delivery))
                await send(member.encrypt(ack))
        finally:
            member.leave()


async def run_picows(_: Files, tls: ssl.SSLContext | None) -> None:
    """Picows (Cython) on uvloop, as its documentation advises: the whole server is plain callbacks.

    Payloads are read as memoryview without a copy, and `transport.send` goes straight to the socket while it takes
    more. Auto-ping is off by default.
    """
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

    binary = WSMsgType.BINARY

    class Listener(WSListener):
        member: Member | None = None

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type is not binary:
                transport.disconnect()
            elif self.member is None:
                self.member = Member(frame.get_payload_as_bytes(), transport)
                transport.send(binary, READY)
            else:
                delivery, ack = self.member.read(frame.get_payload_as_memoryview())
                for other in self.member.others():
                    other.connection.send(binary, other.encrypt(delivery))
                transport.send(binary, self.member.encrypt(ack))

        def on_ws_disconnected(self, _: WSTransport) -> None:
            if self.member is not None:
                self.member.leave()

    server = await ws_create_server(lambda _: Listener(), HOST, 0, ssl=tls, backlog=BACKLOG)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def run_websockets(_: Files, tls: ssl.SSLContext | None) -> None:
    """Websockets on asyncio with uvloop. `broadcast` is the library's own fast way to write without waiting.

    Every recipient has another ciphertext here, so it is called once for each of them.
    """
    from websockets.asyncio.server import ServerConnection, broadcast, serve
    from websockets.exceptions import ConnectionClosed

    async def serve_connection(connection: ServerConnection) -> None:
        member = Member(await connection.recv(decode=False), connection)
        try:
            await connection.send(READY)
            while True:
                delivery, ack = member.read(await connection.recv(decode=False))
                for other in member.others():
                    broadcast((other.connection,), other.encrypt(delivery))
                broadcast((connection,), member.encrypt(ack))
        except ConnectionClosed:
            member.leave()

    async with serve(serve_connection, HOST, 0, compression=None, ssl=tls, backlog=BACKLOG) as server:
        announce(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()


async def run_starlette(files: Files, _: ssl.SSLContext | None) -> None:
    """Starlette on uvicorn with uvloop.

    The WebSocket side is uvicorn's `websockets-sansio`: what `auto` picks, and what uvicorn asks to use instead of its
    older one.
    """
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket, WebSocketDisconnect

    async def serve_connection(connection: WebSocket) -> None:
        await connection.accept()
        await serve_member(connection.receive_bytes, connection.send_bytes, WebSocketDisconnect)

    listener = socket.create_server((HOST, 0), backlog=BACKLOG)
    config = uvicorn.Config(
        Starlette(routes=[WebSocketRoute("/", serve_connection)]),
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ssl_certfile=next(iter(files), None),
        ssl_keyfile=files[-1] if files else None,
        backlog=BACKLOG,
        lifespan="off",
        log_level="warning",
        access_log=False,
    )
    announce(listener.getsockname()[1])
    await uvicorn.Server(config).serve([listener])


async def run_websockets_trio(_: Files, tls: ssl.SSLContext | None) -> None:
    """The Trio server of websockets. A send waits its turn on the recipient's own lock, first come, first served."""
    import trio
    from websockets.exceptions import ConnectionClosed
    from websockets.trio.server import ServerConnection, serve

    async def serve_connection(connection: ServerConnection) -> None:
        await serve_member(connection.recv, connection.send, ConnectionClosed)

    async with trio.open_nursery() as nursery:
        start = partial(serve, serve_connection, 0, host=HOST, backlog=BACKLOG, ssl=tls, compression=None)
        announce((await nursery.start(start)).listeners[0].socket.getsockname()[1])


async def run_trio_websocket(_: Files, tls: ssl.SSLContext | None) -> None:
    """trio-websocket. It has no keepalive of its own. A send waits its turn, as with websockets' Trio server."""
    import trio
    from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

    async def serve_connection(request: WebSocketRequest) -> None:
        connection = await request.accept()
        await serve_member(connection.get_message, connection.send_message, ConnectionClosed)

    async with trio.open_nursery() as nursery:
        announce((await nursery.start(partial(serve_websocket, serve_connection, HOST, 0, ssl_context=tls))).port)


class FloorConnection:
    """A connection of the epoll floor: what the kernel and Python cost when nothing else is done, without crypto.

    No server to use: it takes for granted which frames come and how long they are, waits for nobody, and drops whoever
    reads too slowly. Messages keep the size that encryption would give them.
    """

    def __init__(self, sock: socket.socket, unmask: Callable[[bytes, bytes], bytes]) -> None:
        self.sock, self._unmask = sock, unmask
        self._member: Member | None = None
        self._rest, self._upgraded = b"", False

    def receive(self) -> bool:
        """Take what is there; False when the connection is over."""
        try:
            received = self.sock.recv(_RECEIVE_BYTES)
        except OSError:
            received = b""
        if not received:
            self.sock.close()
            if self._member is not None:
                self._member.leave()
            return False
        self._rest = rest = self._rest + received
        if self._member is not None:
            whole = len(rest) // MESSAGE_FRAME * MESSAGE_FRAME
            for start in range(8, whole, MESSAGE_FRAME):
                self._deliver(self._member, self._unmask(rest[start : start + MESSAGE_BYTES], rest[start - 4 : start]))
            self._rest = rest[whole:]
        elif not self._upgraded and rest.endswith(b"\r\n\r\n"):
            self._upgrade(rest)
        elif self._upgraded and len(rest) >= HELLO_FRAME:
            self._member, self._rest = Member(self._unmask(rest[6:], rest[2:6]), self, encrypted=False), b""
            self.send(bytes((0x82, len(READY))) + READY)
        return True

    def _upgrade(self, request: bytes) -> None:
        from websockets.utils import accept_key

        key = re.search(rb"(?i)sec-websocket-key: *(\S+)\r\n", request)
        assert key is not None
        self.send(f"{SWITCH}{accept_key(key[1].decode())}\r\n\r\n".encode())
        self._upgraded, self._rest = True, b""

    def _deliver(self, member: Member, message: bytes) -> None:
        delivery, ack = map(member.encrypt, member.read(message))
        frame = b"\x82\x7e" + len(delivery).to_bytes(2, "big") + delivery
        for other in member.others():
            other.connection.send(frame)
        self.send(bytes((0x82, len(ack))) + ack)

    def send(self, frame: bytes) -> None:
        """Send at once, or cut who does not take it."""
        with suppress(OSError):
            if self.sock.send(frame) == len(frame):
                return
        self.sock.close()


def serve_epoll_floor() -> None:
    """Serve on one epoll, with one `send` for each delivery."""
    from select import EPOLLIN, epoll

    from websockets.speedups import apply_mask

    listener, poller, connections = socket.create_server((HOST, 0), backlog=BACKLOG), epoll(), {}
    poller.register(listener, EPOLLIN)
    announce(listener.getsockname()[1])
    while True:
        for number, _ in poller.poll(maxevents=_PASS):
            if number == listener.fileno():
                sock, _ = listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[sock.fileno()] = FloorConnection(sock, apply_mask)
                poller.register(sock, EPOLLIN)
            elif not connections[number].receive():
                del connections[number]


Run = Callable[[Files, ssl.SSLContext | None], Coroutine[Any, Any, None]]
ON_UVLOOP: Final[dict[str, Run]] = {"picows": run_picows, "websockets": run_websockets, "starlette": run_starlette}
ON_TRIO: Final[dict[str, Run]] = {"websockets-trio": run_websockets_trio, "trio-websocket": run_trio_websocket}


def main() -> None:
    """Run one until it is killed."""
    _, peer, *files = sys.argv
    tls = None
    if files:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.minimum_version = ssl.TLSVersion.TLSv1_3
        tls.load_cert_chain(*files)
    if peer in ON_UVLOOP:
        import uvloop

        uvloop.run(ON_UVLOOP[peer](files, tls))
    elif peer in ON_TRIO:
        import trio

        trio.run(ON_TRIO[peer], files, tls)
    else:
        serve_epoll_floor()


if __name__ == "__main__":
    main()
