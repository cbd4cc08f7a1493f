"""The floor: what the kernel and Python cost when nothing else is done. One epoll, one `send` per delivery, no crypto.

No server to use: it takes whole frames for granted, waits for nobody, and drops whoever reads too slowly or says
anything but binary. Messages keep the size that encryption would give them.
"""

import re
import select
import socket

from websockets.speedups import apply_mask
from websockets.utils import accept_key

from bench.peer_protocol import READY
from bench.servers.rooms import BACKLOG, HOST, Member, announce, join, read_arguments

RECEIVE = 256 * 1024
PASS = 256
SWITCH = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "


def _framed(payload: bytes) -> bytes:
    size = len(payload)
    return (bytes((0x82, size)) if size < 126 else b"\x82\x7e" + size.to_bytes(2, "big")) + payload  # noqa: PLR2004 - as the RFC has it


def _split(received: bytes) -> tuple[list[bytes], bytes]:
    """Return the unmasked payloads of all frames that are whole, and the rest."""
    payloads, start, end = [], 0, len(received)
    while end - start >= 8:  # noqa: PLR2004 - no frame here is shorter than its head and key
        size, begin = received[start + 1] & 0x7F, start + 2
        if size == 126:  # noqa: PLR2004 - as the RFC has it
            size, begin = received[begin] << 8 | received[begin + 1], begin + 2
        stop = begin + 4 + size
        if stop > end:
            break
        payloads.append(apply_mask(received[begin + 4 : stop], received[begin : begin + 4]))
        start = stop
    return payloads, received[start:]


class Connection:
    """One connection."""

    _member: "Member[Connection] | None" = None
    _rest, _upgraded = b"", False

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def receive(self) -> bool:
        """Take what is there; False when the connection is over."""
        try:
            received = self.sock.recv(RECEIVE)
        except OSError:
            received = b""
        if not received:
            self.sock.close()
            if self._member is not None:
                self._member.leave()
            return False
        self._rest += received
        if self._upgraded:
            payloads, self._rest = _split(self._rest)
            for payload in payloads:
                self._deliver(payload)
        elif (key := re.search(rb"(?i)sec-websocket-key: *(\S+)\r\n", self._rest)) and self._rest[-4:] == b"\r\n\r\n":
            self.send(f"{SWITCH}{accept_key(key[1].decode())}\r\n\r\n".encode())
            self._upgraded, self._rest = True, b""
        return True

    def _deliver(self, message: bytes) -> None:
        if self._member is None:
            self._member = join(message, self, encrypted=False)
            self.send(_framed(READY))
            return
        delivery, ack = self._member.read(message)
        frame = _framed(self._member.encrypt(delivery))
        for other in self._member.others():
            other.connection.send(frame)
        self.send(_framed(self._member.encrypt(ack)))

    def send(self, frame: bytes) -> None:
        """Send at once, or cut who does not take it."""
        try:
            if self.sock.send(frame) == len(frame):
                return
        except OSError:
            pass
        self.sock.close()


def _serve(listener: socket.socket) -> None:
    epoll, connections = select.epoll(), dict[int, Connection]()
    epoll.register(listener, select.EPOLLIN)
    while True:
        for number, _ in epoll.poll(maxevents=PASS):
            if number == listener.fileno():
                sock, _ = listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[sock.fileno()] = Connection(sock)
                epoll.register(sock, select.EPOLLIN)
            elif not connections[number].receive():
                del connections[number]


if __name__ == "__main__":
    read_arguments(__doc__)
    LISTENER = socket.create_server((HOST, 0), backlog=BACKLOG)
    announce(LISTENER.getsockname()[1])
    _serve(LISTENER)
