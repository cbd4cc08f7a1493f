"""The generator: thousands of client connections on non-blocking sockets and one epoll, in one thread.

It says how busy it was, so that nobody takes its limit for the server's.
"""

import gc
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from bench.durable.dialect import Dialect
from bench.durable.ledger import Ledger
from bench.durable.schedule import Due
from loadtest.client.websocket import ServerFault

CONNECTING_AT_ONCE: Final = 100
"""Below every server's backlog."""
CONFIRM_AFTER: Final = 1.0
"""Seconds that confirmations may gather, as the protocol advises clients."""
_READ_BYTES: Final = 262_144
_EVENTS: Final = 256
_GLANCE: Final = 0.05
"""Seconds the kernel is waited for at the most when nothing is due."""
_SECOND_NS: Final = 1_000_000_000
_PASS_MESSAGES: Final = 64
"""Sent between two looks at what has come, however late they are."""
_BUSY: Final = 0.9
GONE: Final = b"gone"
"""What waits to be sent on a connection that has broken: nothing will."""


class Line:
    """One connection: its socket, what it speaks, and what the kernel has not taken yet."""

    __slots__ = ("dialect", "number", "owing", "pending", "sock", "started")

    def __init__(self, number: int, sock: socket.socket, dialect: Dialect) -> None:
        self.number = number
        self.sock = sock
        self.dialect = dialect
        self.pending = b""
        self.owing = False
        self.started = time.monotonic()


class Effort(NamedTuple):
    """What the generator itself took."""

    seconds: float
    cpu_seconds: float

    @property
    def busy(self) -> float:
        """The share of one core."""
        return self.cpu_seconds / self.seconds if self.seconds else 0.0

    @property
    def bound(self) -> bool:
        """Whether the generator, and not the server, may have set the limit."""
        return self.busy > _BUSY


class Generator:
    """Connections to one server. Close it."""

    def __init__(self, address: tuple[str, int], dial: Callable[[int], Dialect], ledger: Ledger) -> None:
        self.ledger = ledger
        self.lines: dict[int, Line] = {}
        """Every connection, by its number."""
        self.on_live: Callable[[Line], None] = _ignore
        """Told of each connection when it is live."""
        self.forgives = False
        """Whether a connection that breaks is only forgotten: for when servers are killed on purpose."""
        self._address = address
        self._dial = dial
        # The first file, so that select can look at it: epoll itself waits in whole milliseconds only.
        self._epoll = select.epoll()
        self._by_file: dict[int, Line] = {}
        self._owing: deque[tuple[float, Line]] = deque()
        self._coming: set[Line] = set()

    def connect(self, numbers: Sequence[int], *, deadline: float, at_once: int = CONNECTING_AT_ONCE) -> None:
        """Bring these connections up, and wait until all are live.

        Raises ServerFault when that takes longer than `deadline` seconds, or the server says no.
        """
        end = time.monotonic() + deadline
        waiting = deque(numbers)
        while waiting or self._coming:
            while waiting and len(self._coming) < at_once:
                self._begin(waiting.popleft())
            self.turn(_GLANCE)
            if time.monotonic() > end:
                live = len(numbers) - len(waiting) - len(self._coming)
                raise ServerFault(f"{live} of {len(numbers)} connections were live after {deadline:g} s")

    def run(self, schedule: Iterator[Due], start_ns: int) -> Effort:
        """Send what is due from `start_ns` on, until the schedule ends."""
        began, used = time.monotonic(), time.process_time()
        due = next(schedule, None)
        while due is not None:
            now_ns = time.monotonic_ns() - start_ns
            left = _PASS_MESSAGES
            while due is not None and due.at_ns <= now_ns and left:
                self._say(self.lines[due.sender], self.ledger.draw(due.sender, start_ns + due.at_ns))
                due, left = next(schedule, None), left - 1
            if due is not None:
                self.turn(min(_GLANCE, max(0.0, (due.at_ns - (time.monotonic_ns() - start_ns)) / _SECOND_NS)))
        return Effort(time.monotonic() - began, time.process_time() - used)

    def settle(self, seconds: float) -> None:
        """Go on receiving until nothing is under way, for so long at the most; then confirm what is owed."""
        end = time.monotonic() + seconds
        while not self.ledger.settled and time.monotonic() < end:
            self.turn(_GLANCE)
        while self._owing:
            self._confirm(self._owing.popleft()[1])

    def turn(self, wait: float) -> None:
        """Wait so many seconds for the kernel at the most, and do what there is to do."""
        if wait:
            select.select((self._epoll,), (), (), wait)
        for file, mask in self._epoll.poll(0, _EVENTS):
            line = self._by_file[file]
            if mask & ~select.EPOLLOUT:
                self._read(line)
            if mask & select.EPOLLOUT and line.pending is not GONE:
                self._flush(line)
        self._confirm_due()

    def leave(self, seconds: float) -> None:
        """Say good-bye on all connections, and wait so long for the server to hang up; then hang up."""
        self.forgives = True
        for line in list(self._by_file.values()):
            self._send(line, line.dialect.leave())
        end = time.monotonic() + seconds
        while self._by_file and time.monotonic() < end:
            self.turn(_GLANCE)
        self.close()

    def drain(self, seconds: float) -> None:
        """Read what is still there of a server that has died, until all connections have ended."""
        self.forgives = True
        end = time.monotonic() + seconds
        while self._by_file and time.monotonic() < end:
            self.turn(_GLANCE)

    def close(self) -> None:
        """Close all connections without a word."""
        for line in self._by_file.values():
            line.sock.close()
        self._by_file.clear()
        self._epoll.close()

    def _begin(self, number: int) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect_ex(self._address)  # that it could not be done shows when it is read
        line = Line(number, sock, self._dial(number))
        line.pending = line.dialect.open()
        self.lines[number] = line
        self._by_file[sock.fileno()] = line
        self._coming.add(line)
        self._epoll.register(sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _say(self, line: Line, payload: bytes) -> None:
        self._send(line, line.dialect.send(payload))

    def _send(self, line: Line, octets: bytes) -> None:
        if line.pending:
            if line.pending is not GONE:
                line.pending += octets
            return
        try:
            sent = line.sock.send(octets)
        except BlockingIOError:
            sent = 0
        except OSError as failure:
            self._lose(line, str(failure))
            return
        if sent < len(octets):
            line.pending = octets[sent:]
            self._epoll.modify(line.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _flush(self, line: Line) -> None:
        octets, line.pending = line.pending, b""
        self._epoll.modify(line.sock.fileno(), select.EPOLLIN)
        if octets:
            self._send(line, octets)

    def _read(self, line: Line) -> None:
        try:
            received = line.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as failure:
            self._lose(line, str(failure))
            return
        if not received:
            self._lose(line, "the server hung up")
            return
        dialect = line.dialect
        try:
            reply = dialect.feed(received)
        except ServerFault as fault:
            self._lose(line, str(fault))
            return
        if reply:
            self._send(line, reply)
        if dialect.owes and not line.owing:
            line.owing = True
            self._owing.append((time.monotonic() + CONFIRM_AFTER, line))
        if self._coming and dialect.live and line in self._coming:
            self._coming.remove(line)
            self.on_live(line)

    def _lose(self, line: Line, why: str) -> None:
        if not self.forgives:
            raise ServerFault(f"connection {line.number} broke: {why}")
        del self._by_file[line.sock.fileno()]
        line.sock.close()
        line.pending = GONE
        self._coming.discard(line)

    def _confirm_due(self) -> None:
        owing, now = self._owing, time.monotonic()
        while owing and owing[0][0] <= now:
            self._confirm(owing.popleft()[1])

    def _confirm(self, line: Line) -> None:
        line.owing = False
        self._send(line, line.dialect.confirm())


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


def _ignore(line: Line) -> None:
    """Nobody wants to know."""
