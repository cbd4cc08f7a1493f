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

from bench.durable.load import PAYLOAD_BYTES, DurableServer, Load
from loadtest.client.websocket import ServerFault
from loadtest.ledger.ledger import Draft

Fault = Callable[[list[bytes]], list[bytes]]
"""What becomes of all messages of one connection before they are handed on."""

_NUMBER = 4
_BATCH = 10


@dataclass(eq=False)
class PlainClient:
    """The client's side."""

    number: int
    load: Load
    ready: bool = False
    _sent: list[int] = field(default_factory=list)
    _rest: bytes = b""

    def open(self) -> bytes:
        """Say who comes."""
        return b"h" + self.number.to_bytes(_NUMBER, "big")

    def receive(self, received: bytes) -> bytes:
        """Take acks and messages."""
        if not received:
            self.lost("the server hung up")
        stream, ledger, room = self._rest + received, self.load.ledger, self.number // 2
        while stream[:1] in {b"a", b"h"} or len(stream) > PAYLOAD_BYTES:
            kind, stream = stream[:1], stream[1:]
            if kind == b"h":
                self.ready = True
            elif kind == b"a":
                ledger.ack(self.number, room, self._sent.pop(0))
            else:
                ledger.receive(self.number, room, stream[:PAYLOAD_BYTES])
                stream = stream[PAYLOAD_BYTES:]
        self._rest = stream
        return b""

    def lost(self, reason: str) -> None:
        """Raises ServerFault."""
        raise ServerFault(f"it broke: {reason}")

    def send(self, draft: Draft) -> bytes:
        """Say a message."""
        self._sent.append(draft.seq)
        return b"m" + draft.payload

    def confirm(self) -> bytes:
        """Say nothing."""
        return b""

    def leave(self) -> bytes:
        """Say nothing."""
        return b""


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
