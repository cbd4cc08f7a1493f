"""A server that does what a test says, on blocking sockets in threads.

What it speaks is the contract's own server side, as far as the script lets it.
"""

import base64
import hashlib
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

from msgspec import Struct
from websockets.frames import Frame, Opcode
from websockets.speedups import apply_mask

from loadtest.crowd.crowd import Crowd, Seat
from tests.cast import CastDevice, alice, bob, carol, roster_of
from tests.loadtest.users.running_users import crowd_of
from tests.relay.memory_node import RELAY_KEY
from varde_contract import frames as f
from varde_contract.ids import ConversationId, MessageId, SessionId, uuid7
from varde_contract.session import ServerSession

PATIENCE = 20.0
CONVERSATION = roster_of(alice, bob).conversation
"""Whatever the crowd is in."""
LIMITS = f.ServerLimits(49_152, 1_000, 4_194_304, 2_000)

F = TypeVar("F", bound=Struct)


def numbered(number: int) -> bytes:
    """Ten bytes that differ by number."""
    return number.to_bytes(10, "big")


@dataclass
class Peer:
    """One connection, as the script sees it. Its number counts from 0."""

    number: int
    sock: socket.socket
    session: ServerSession = field(default_factory=lambda: ServerSession(RELAY_KEY))
    closed_with: int | None = None
    pongs: list[bytes] = field(default_factory=list)
    _frames: deque[Struct] = field(default_factory=deque)

    def upgrade(self) -> None:
        """Take the request and answer it with 101."""
        request = self.read_request()
        key = next(line[19:] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key: "))
        digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
        lines = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + base64.b64encode(digest)
        self.sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\n" + lines + b"\r\n\r\n")

    def read_request(self) -> bytes:
        """Take the request."""
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += self._some(65_536)
        return request

    def greet(self, *, heartbeat_ms: int = 25_000) -> None:
        """Take the upgrade and the handshake, and welcome whoever it is."""
        self.upgrade()
        self.session.receive(self._message())
        reply = self.session.take_reply()
        assert reply is not None
        self.send_message(reply)
        session = SessionId(uuid7(1, numbered(1)))
        self.say(f.Welcome(session, 1, heartbeat_ms, LIMITS, (), more=False))

    def join(self, from_seq: int = 1, head: int = 0, **greeting: int) -> None:
        """Greet, and answer the `join:conversation`."""
        self.greet(**greeting)
        self.hear(f.Join)
        self.say(f.Joined(CONVERSATION, from_seq, head, 1, 0))

    def say(self, *frames: Struct) -> None:
        """Send frames in one message."""
        self.send_message(self.session.send(*frames))

    def send_message(self, message: bytes, opcode: Opcode = Opcode.BINARY) -> None:
        """Send a WebSocket message."""
        self.sock.sendall(Frame(opcode, message).serialize(mask=False))

    def close(self, code: int) -> None:
        """Close with a code."""
        self.send_message(code.to_bytes(2, "big"), Opcode.CLOSE)

    def hear(self, kind: type[F]) -> F:
        """Return the next frame of a kind, leaving out others."""
        while True:
            while self._frames:
                frame = self._frames.popleft()
                if isinstance(frame, kind):
                    return frame
            self._frames.extend(self.session.receive(self._message()))

    def hear_end(self) -> None:
        """Read until the other side closes or is gone."""
        with suppress(EOFError):
            while True:
                self._message()

    def ack(self, send: f.Send, seq: int) -> None:
        """Acknowledge a send."""
        self.say(f.Ack(send.client_id, send.conversation, MessageId(uuid7(seq, numbered(seq))), seq, 1))

    def deliver(self, send: f.Send, seq: int) -> None:
        """Bring a message to this peer as if it came from another device."""
        assert send.group is not None
        message, device = MessageId(uuid7(seq, numbered(seq))), carol.devices[0].id
        self.say(f.New(send.conversation, seq, message, send.client_id, send.profile, device, 1, send.group))

    def _message(self) -> bytes:
        while True:
            head = self._exactly(2)
            width = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
            size = int.from_bytes(self._exactly(width), "big") if width else head[1] & 0x7F
            mask = self._exactly(4)
            payload = apply_mask(self._exactly(size), mask) if size else b""
            if head[0] & 0x0F == Opcode.CLOSE:
                self.closed_with = int.from_bytes(payload[:2], "big")
                with suppress(OSError):  # it may have gone at once
                    self.send_message(payload[:2], Opcode.CLOSE)
                raise EOFError
            if head[0] & 0x0F == Opcode.PONG:
                self.pongs.append(payload)
            else:
                return payload

    def _exactly(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            received += self._some(count - len(received))
        return received

    def _some(self, most: int) -> bytes:
        received = self.sock.recv(most)
        if not received:
            raise EOFError
        return received


Script = Callable[[Peer], None]
"""What is done with a connection, which is closed afterwards."""


@dataclass
class Server:
    """Where it listens, whom it had, and what its scripts raised."""

    address: tuple[str, int]
    scheme: str
    peers: list[Peer] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)

    def crowd(self, *devices: CastDevice) -> Crowd:
        """Return a crowd of these devices that would come here, in one group."""
        seats = [
            Seat(
                device.model.account,
                device.model.profiles[0],
                device.id,
                device.noise.private_bytes(),
                "a ticket",
                "",
                (0,),
            )
            for device in devices
        ]
        url = f"{self.scheme}://{self.address[0]}:{self.address[1]}/v1/relay"
        return crowd_of(url, seats, ConversationId(CONVERSATION), group=True)


@contextmanager
def open_scripted(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serve until the block ends; a connection is a thread. Raises what a script raised."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener.getsockname(), "ws" if tls is None else "wss")
        threads: list[threading.Thread] = []

        def serve(sock: socket.socket, number: int) -> None:
            try:
                sock.settimeout(PATIENCE)
                peer = Peer(number, sock if tls is None else tls.wrap_socket(sock, server_side=True))
                server.peers.append(peer)
                with peer.sock:
                    script(peer)
            except (OSError, EOFError):
                sock.close()  # the other side went, or would not speak to us
            except BaseException as fault:  # noqa: BLE001 - it belongs to the test, which is in another thread
                server.faults.append(fault)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    threads.append(threading.Thread(target=serve, args=(sock, len(threads))))
                    threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *threads):
                thread.join()
    if server.faults:
        raise server.faults[0]
