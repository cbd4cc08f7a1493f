"""A chat server double that loses, repeats, reorders or forgets to ack, and the client that talks to it.

It answers `m` + payload with `a`, and hands it to the partner; a connection begins with `h` and its number.
"""

import os
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

from bench.durable.load import PAYLOAD_BYTES, DurableClient, DurableServer, Load
from loadtest.ledger.ledger import Draft

Fault = Callable[[list[bytes]], list[bytes]]
"""What becomes of all messages of one connection before they are handed on."""

_NUMBER = 4
_BATCH = 10


class PlainClient(DurableClient):
    """The client's side."""

    __slots__ = ("_acks", "_rest", "_sends")

    def __init__(self, number: int, load: Load) -> None:
        super().__init__(number, load)
        self._rest, self._sends, self._acks = b"", count(), count()

    def open(self) -> bytes:
        """Say who comes."""
        return b"h" + self.number.to_bytes(_NUMBER, "big")

    def receive(self, received: bytes) -> bytes:
        """Take acks and messages."""
        if not received:
            self.lost("the server hung up")
        stream = self._rest + received
        while stream[:1] in {b"a", b"h"} or len(stream) > PAYLOAD_BYTES:
            kind, stream = stream[:1], stream[1:]
            if kind == b"h":
                self.ready = True
            elif kind == b"a":
                self._note_answer(next(self._acks))
            else:
                self._note_received(stream[:PAYLOAD_BYTES])
                stream = stream[PAYLOAD_BYTES:]
        self._rest = stream
        return b""

    def send(self, draft: Draft) -> bytes:
        """Say a message."""
        self._note_sent(next(self._sends), draft)
        return b"m" + draft.payload


@dataclass
class FaultyServer:
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
                    self.sockets[number ^ 1].sendall(message)
                if self.acks:
                    sock.sendall(b"a" * len(batch))


@contextmanager
def open_faulty(fault: Fault, *, acks: bool = True, batch: int = _BATCH) -> Iterator[DurableServer]:
    """Run such a server."""
    double = FaultyServer(fault, acks, batch)

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(ConnectionError):
                double.serve(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connection) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield DurableServer(server.server_address[1], PlainClient, {"double": os.getpid()}, {})
        finally:
            server.shutdown()
            thread.join()
