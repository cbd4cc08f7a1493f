"""A chat server double that loses, repeats, reorders or forgets to ack, and the dialect that talks to it.

It answers `m` + payload with `a`, and hands it to the partner; a connection begins with `h` and its number.
"""

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from bench.durable.dialect import Tally
from bench.durable.ledger import PAYLOAD_BYTES, partner_of

Fault = Callable[[list[bytes]], list[bytes]]
"""What becomes of all messages of one connection before they are handed on."""

_NUMBER = 4
_BATCH = 10


@dataclass
class PlainDialect:
    """The client's side."""

    number: int
    tally: Tally
    live: bool = False
    owes: bool = False
    _rest: bytes = b""

    def open(self) -> bytes:
        """Say who comes."""
        return b"h" + self.number.to_bytes(_NUMBER, "big")

    def feed(self, received: bytes) -> bytes:
        """Take acks and messages."""
        stream = self._rest + received
        while stream[:1] in {b"a", b"h"} or len(stream) > PAYLOAD_BYTES:
            kind, stream = stream[:1], stream[1:]
            if kind == b"h":
                self.live = True
            elif kind == b"a":
                self.tally.ack(self.number, 1)
            else:
                self.tally.receive(self.number, stream[:PAYLOAD_BYTES])
                stream = stream[PAYLOAD_BYTES:]
        self._rest = stream
        return b""

    def send(self, payload: bytes) -> bytes:
        """Say a message."""
        return b"m" + payload

    def confirm(self) -> bytes:
        """Say nothing."""
        return b""

    def leave(self) -> bytes:
        """Say nothing."""
        return b""


@dataclass
class UnfaithfulServer:
    """The server's side: batches of a connection's messages go through `fault`, then to the partner."""

    fault: Fault
    acks: bool = True
    batch: int = _BATCH
    sockets: dict[int, socket.socket] = field(default_factory=dict)

    def serve(self, sock: socket.socket) -> None:
        """Serve one connection until it ends."""
        with sock.makefile("rb") as stream:
            number = int.from_bytes(stream.read(1 + _NUMBER)[1:], "big")
            self.sockets[number] = sock
            sock.sendall(b"h")
            while batch := [message for _ in range(self.batch) if (message := stream.read(1 + PAYLOAD_BYTES))]:
                for message in self.fault(batch):
                    self.sockets[partner_of(number)].sendall(message)
                if self.acks:
                    sock.sendall(b"a" * len(batch))


@contextmanager
def open_unfaithful(fault: Fault, *, acks: bool = True, batch: int = _BATCH) -> Iterator[tuple[str, int]]:
    """Run such a server and yield its address."""
    double = UnfaithfulServer(fault, acks, batch)

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(ConnectionError):
                double.serve(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connection) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield ("127.0.0.1", server.server_address[1])
        finally:
            server.shutdown()
            thread.join()
