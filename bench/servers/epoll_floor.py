"""The floor: what the kernel and Python cost when nothing else is done. One epoll, one `send` per delivery, no crypto.

No server to use: it takes whole frames for granted, waits for nobody, and drops whoever reads too slowly or says
anything but binary. Messages keep the size that encryption would give them.
"""

import base64
import hashlib
import re
import select
import socket

from websockets.speedups import apply_mask

from bench.peer_protocol import READY
from bench.servers.program import BACKLOG, HOST, announce, read_arguments
from bench.servers.rooms import Member, Rooms

RECEIVE = 256 * 1024
PASS = 256
ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def framed(payload: bytes) -> bytes:
    """Return one binary frame of a server; 65,535 bytes at most."""
    size = len(payload)
    return (bytes((0x82, size)) if size < 126 else b"\x82\x7e" + size.to_bytes(2, "big")) + payload  # noqa: PLR2004 - RFC 6455 section 5.2


def split(received: bytes) -> tuple[list[bytes], bytes]:
    """Return the unmasked payloads of all frames that are whole, and the rest."""
    payloads, start, end = [], 0, len(received)
    while end - start >= 8:  # noqa: PLR2004 - no frame here is shorter than its head and key
        size, begin = received[start + 1] & 0x7F, start + 2
        if size == 126:  # noqa: PLR2004 - RFC 6455 section 5.2
            size, begin = received[begin] << 8 | received[begin + 1], begin + 2
        stop = begin + 4 + size
        if stop > end:
            break
        payloads.append(apply_mask(received[begin + 4 : stop], received[begin : begin + 4]))
        start = stop
    return payloads, received[start:]


class Connection:
    """One connection."""

    def __init__(self, sock: socket.socket, rooms: "Rooms[Connection]") -> None:
        self.sock = sock
        self._rooms = rooms
        self._rest = b""
        self._member: Member[Connection] | None = None
        self._upgraded = False

    def receive(self) -> bool:
        """Take what is there; False when the connection is over."""
        try:
            received = self._rest + self.sock.recv(RECEIVE)
        except OSError:
            return False
        if len(received) == len(self._rest):
            return False
        self._rest = received
        if not self._upgraded:
            self._upgrade()
            return True
        payloads, self._rest = split(received)
        for payload in payloads:
            self._deliver(payload)
        return True

    def close(self) -> None:
        """The connection is over."""
        self.sock.close()
        if self._member is not None:
            self._member.leave()

    def _upgrade(self) -> None:
        key = re.search(rb"(?i)sec-websocket-key: *(\S+)\r\n", self._rest)
        if key is None or not self._rest.endswith(b"\r\n\r\n"):
            return
        accept = base64.b64encode(hashlib.sha1(key[1] + ACCEPT, usedforsecurity=False).digest())
        head = (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        )
        self.send(head + accept + b"\r\n\r\n")
        self._upgraded, self._rest = True, b""

    def _deliver(self, message: bytes) -> None:
        if self._member is None:
            self._member = self._rooms.join(message, self)
            self.send(framed(READY))
            return
        delivery, ack = self._member.read(message)
        frame = framed(self._member.encrypt(delivery))
        for other in self._member.others():
            other.connection.send(frame)
        self.send(framed(self._member.encrypt(ack)))

    def send(self, frame: bytes) -> None:
        """Send at once, or cut who does not take it."""
        try:
            if self.sock.send(frame) == len(frame):
                return
        except OSError:
            pass
        self.sock.close()


def serve(listener: socket.socket) -> None:
    """Serve until the process is told to stop."""
    epoll, connections, rooms = select.epoll(), dict[int, Connection](), Rooms[Connection](encrypted=False)
    epoll.register(listener, select.EPOLLIN)
    while True:
        for number, _ in epoll.poll(maxevents=PASS):
            if number == listener.fileno():
                sock, _ = listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[sock.fileno()] = Connection(sock, rooms)
                epoll.register(sock, select.EPOLLIN)
            elif not connections[number].receive():
                connections.pop(number).close()


if __name__ == "__main__":
    read_arguments(__doc__)
    LISTENER = socket.create_server((HOST, 0), backlog=BACKLOG)
    announce(LISTENER.getsockname()[1])
    serve(LISTENER)
