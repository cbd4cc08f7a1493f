"""A person's HTTP connection to the API: one, kept open, from an address of its own."""

import errno
from typing import Any, Final

import gevent
import msgspec
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPParseError

from loadtest.rest.origin import Origin, open_pool
from loadtest.rest.request import REPLY_BYTES, Reply, Request, Unanswered

PATIENCE: Final = 30.0
"""Seconds for one request in all. Whoever waits longer has gone; it is counted with the time that it waited."""

_encode: Final = msgspec.json.encode


class _Client(HTTPClient):
    def __init__(self, origin: Origin, source: str | None, patience: float) -> None:
        # The library would read the list of authorities for each client; ours have one context together.
        super().__init__(origin.host, origin.port, headers={"User-Agent": "varde-loadtest"})
        self.ssl = origin.tls
        self._connection_pool = open_pool(origin, source, patience)


class ApiClient:
    """Asks one thing at a time, for `patience` seconds at most."""

    def __init__(self, origin: Origin, source: str | None = None, *, patience: float = PATIENCE) -> None:
        self._origin, self._source, self._patience = origin, source, patience
        self._client = _Client(origin, source, patience)

    def ask(self, request: Request) -> Reply:
        """Send a request and read its reply. Raises Unanswered."""
        answered = False
        try:
            with gevent.Timeout(self._patience, Unanswered("timeout")):
                reply = self._ask(request)
            answered = True
        except OSError as broken:
            raise Unanswered(_word(broken)) from None
        except (HTTPParseError, ValueError):
            raise Unanswered("broken off") from None
        finally:
            if not answered:
                self._renew()
        return reply

    def _ask(self, request: Request) -> Reply:
        headers = {"Authorization": f"Bearer {request.token}"} if request.token else {}
        body = b""
        if request.body is not None:
            headers["Content-Type"] = "application/json"
            body = _encode(request.body)
        response = self._client.request(request.method, request.path, body=body, headers=headers)
        read = response.read(REPLY_BYTES + 1)
        if len(read) > REPLY_BYTES:
            response.release()
            raise Unanswered("too large")
        return Reply(int(response.status_code), bytes(read))

    def _renew(self) -> None:
        # Wherever it was left off, the library may still hold the connection for taken.
        self._client.close()
        self._client = _Client(self._origin, self._source, self._patience)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _word(broken: OSError) -> str:
    if isinstance(broken, TimeoutError):
        return "timeout"
    known: dict[Any, str] = {errno.ECONNREFUSED: "refused", errno.ECONNRESET: "reset", errno.EPIPE: "reset"}
    return known.get(broken.errno, "unreachable")
