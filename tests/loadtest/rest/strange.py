"""An HTTP server that does to its callers what a test wants."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gevent.server import StreamServer

Answer = Callable[[], bytes]
"""Called for each request; what it returns is sent, and the connection is kept when it is a whole response."""

ENOUGH = b"\r\n\r\n"


class Strange:
    """Where it listens, and what it saw."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.peers: list[str] = []
        """The address of each connection's other end."""
        self.requests = 0
        self.url = ""

    def serve(self, connection: Any, peer: tuple[str, int]) -> None:
        """Answer one connection's requests."""
        self.peers.append(peer[0])
        held = b""
        while chunk := connection.recv(65_536):
            held += chunk
            while ENOUGH in held:
                held = held.partition(ENOUGH)[2]
                self.requests += 1
                said = self._answer()
                connection.sendall(said)
                if not said.startswith(b"HTTP/1.1"):
                    return


@contextmanager
def open_strange(answer: Answer, tls: Any = None) -> Iterator[Strange]:
    """Run one until the block ends; `tls` is its context."""
    strange = Strange(answer)
    server = StreamServer(("127.0.0.1", 0), strange.serve, **({"ssl_context": tls} if tls else {}))
    server.start()
    strange.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    try:
        yield strange
    finally:
        server.stop(timeout=1)


def response(body: bytes, status: str = "200 OK") -> bytes:
    """Return a whole response."""
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), len(body), body)
