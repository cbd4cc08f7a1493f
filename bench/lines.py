"""The generator's sockets: many connections on one epoll, in one thread, none of which ever waits for another."""

import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, Self

from bench.clients import Client
from loadtest.client.websocket import ServerFault

RECEIVE: Final = 256 * 1024
EVENTS: Final = 1_024
CONNECT_TIMEOUT: Final = 10.0
SOURCES: Final = 64
"""Addresses to connect from, 127.0.1.1 and on: each has some 28,000 ports of its own."""

_BLOCKED: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Line:
    """One connection: a socket, its client, and what the kernel did not take yet."""

    __slots__ = ("client", "shaking", "sock", "unsent")

    def __init__(self, sock: socket.socket, client: Client) -> None:
        self.sock = sock
        self.client = client
        self.unsent = b""
        self.shaking = isinstance(sock, ssl.SSLSocket)
        """Whether the TLS handshake is under way."""

    def open(self) -> None:
        """Say the first words, after the TLS handshake where there is one. Raises ServerFault."""
        try:
            if self.shaking:
                assert isinstance(self.sock, ssl.SSLSocket)
                self.sock.do_handshake()
                self.shaking = False
        except _BLOCKED:
            return
        except OSError as failure:
            raise ServerFault("the TLS handshake failed") from failure
        self.push(self.client.open())

    def push(self, frames: bytes) -> bool:
        """Send, and keep what the kernel does not take; False when there was some."""
        frames = self.unsent + frames
        self.unsent = b""
        try:
            sent = self.sock.send(frames)
        except _BLOCKED:
            sent = 0
        if sent == len(frames):
            return True
        self.unsent = frames[sent:]
        return False

    def pull(self) -> None:
        """Receive what is there and answer what must be answered. Raises ServerFault when the server is gone."""
        if self.shaking:
            self.open()
            return
        try:
            received = self.sock.recv(RECEIVE)
        except _BLOCKED:
            return
        except OSError as failure:
            raise ServerFault("the server broke a connection") from failure
        if not received:
            raise ServerFault("the server closed a connection")
        answer = self.client.receive(received)
        if answer:
            self.push(answer)


class Exchange:
    """All lines to one server. Close it when the measurement is over."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._port = port
        self._tls = tls
        self._epoll = select.epoll()
        self._dialled = 0
        self.lines: dict[int, Line] = {}

    def connect(
        self, clients: Iterable[Client], *, at_once: int, deadline: float, say: Callable[[int], None] = lambda _: None
    ) -> list[Line]:
        """Connect all clients, `at_once` of them in the middle of it at a time, and return their lines.

        `say` hears how many are ready. Raises ServerFault when a server refuses, or takes longer than `deadline`
        seconds for all.
        """
        end = time.perf_counter() + deadline
        waiting, opening, ready = iter(clients), deque[Line](), list[Line]()
        exhausted = False
        while opening or not exhausted:
            while len(opening) < at_once and not exhausted:
                client = next(waiting, None)
                exhausted = client is None
                if client is not None:
                    opening.append(self._dial(client))
            self.pull(0.05)
            for _ in range(len(opening)):
                line = opening.popleft()
                (ready if line.client.ready else opening).append(line)
            say(len(ready))
            if time.perf_counter() > end:
                raise ServerFault(f"only {len(ready)} connections were ready in {deadline:.0f} s")
        return ready

    def pull(self, timeout: float = 0) -> None:
        """Look once at every line that has something, after waiting for the first at most `timeout` seconds."""
        for number, _ in self._epoll.poll(timeout, EVENTS):
            self.lines[number].pull()

    def flush(self, lines: Iterable[Line]) -> list[Line]:
        """Offer the kernel again what it did not take; return the lines that still wait."""
        return [line for line in lines if line.unsent and not line.push(b"")]

    def drop(self, lines: Iterable[Line]) -> None:
        """Close some lines."""
        for line in lines:
            del self.lines[line.sock.fileno()]
            line.sock.close()

    def close(self) -> None:
        """Close everything."""
        self.drop(list(self.lines.values()))
        self._epoll.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _dial(self, client: Client) -> Line:
        sock = socket.socket()
        # The port is chosen with the destination known: the same one may then serve several destinations.
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IP, _BIND_WITHOUT_PORT, 1)
        sock.bind((f"127.0.1.{1 + self._dialled % SOURCES}", 0))
        self._dialled += 1
        sock.settimeout(CONNECT_TIMEOUT)
        try:
            sock.connect(("127.0.0.1", self._port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as failure:
            sock.close()
            raise ServerFault("the server did not take a connection") from failure
        sock.setblocking(False)
        if self._tls is not None:
            sock = self._tls.wrap_socket(sock, server_hostname="localhost", do_handshake_on_connect=False)
        line = Line(sock, client)
        self.lines[sock.fileno()] = line
        self._epoll.register(sock, select.EPOLLIN)
        line.open()
        return line


_BIND_WITHOUT_PORT: Final = 24
"""IP_BIND_ADDRESS_NO_PORT of Linux, which the socket module has no name for."""
