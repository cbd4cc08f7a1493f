"""A person's HTTP connection to the API: one, kept open, from an address of its own; and what goes over it."""

import errno
import functools
import ssl
from collections.abc import Callable
from typing import Any, Final

import gevent
import msgspec
from gevent import socket
from geventhttpclient import HTTPClient
from geventhttpclient.connectionpool import ConnectionPool, SSLConnectionPool
from geventhttpclient.response import HTTPParseError

from loadtest.users.target import Target, find_target
from varde_contract.rest.problems import Problem
from varde_contract.secret_struct import SecretStruct

PATIENCE: Final = 30.0
"""Seconds for one request in all. Whoever waits longer has gone; it is counted with the time that it waited."""
REPLY_BYTES: Final = 1 << 20  # the largest reply that is read. A roster of the largest conversation has a tenth of it
_BIND_ADDRESS_NO_PORT: Final = 24
"""ip(7): the port is chosen at connect, so that each source address has all ports for itself. Not in Python 3.11."""
_WORDS: Final[dict[Any, str]] = {errno.ECONNREFUSED: "refused", errno.ECONNRESET: "reset", errno.EPIPE: "reset"}
_problem: Final = msgspec.json.Decoder(Problem)


class Request(SecretStruct, frozen=True, kw_only=True):
    """`name` is the operation as it stands in a report: method and path, without ids. `path`, where it has some."""

    name: str
    path: str = ""
    token: str = ""
    body: Any = None  # sent as JSON; None sends none
    answer: Any = None  # the type that a good reply's body has to be of; None takes an empty one


class Reply(SecretStruct, frozen=True):
    """What the API said."""

    status: int
    body: bytes


class Unanswered(Exception):
    """The request got no reply that could be read; the text is the word to count it by."""


def judge(request: Request, reply: Reply) -> str | None:
    """Return the word of a failure: a refusal's status and code, or what is wrong with a reply. None for a good one."""
    try:
        if reply.status >= 300:  # noqa: PLR2004 - RFC 9110, section 15: no operation redirects
            return f"{reply.status} {_problem.decode(reply.body).code}"
        read(request, reply)
    except msgspec.MsgspecError:
        return str(reply.status)
    except Unanswered as fault:
        return str(fault)
    return None


def read(request: Request, reply: Reply) -> Any:
    """Return a good reply's body as its type. Raises Unanswered."""
    if request.answer is None:
        if reply.body:
            raise Unanswered("malformed")
        return None
    try:
        return msgspec.json.decode(reply.body, type=request.answer)
    except msgspec.MsgspecError:
        raise Unanswered("malformed") from None


def find_origin(url: str) -> Target:
    """Read the API's `http://` or `https://` URL and look its host up. Raises CrowdError."""
    return find_target(url, what="API", like="http://host:port", ports={"http": 80, "https": 443})


class ApiClient:
    """Asks one thing at a time, for `patience` seconds at most."""

    def __init__(
        self, origin: Target, source: str | None = None, *, authority: str = "", patience: float = PATIENCE
    ) -> None:
        """`source` is the address to bind to; `authority` is the PEM of whom to trust, else whom the system trusts."""
        self._open: Callable[[], Any] = lambda: _Client(origin, source, authority, patience)
        self._patience = patience
        self._client = self._open()

    def ask(self, request: Request) -> Reply:
        """Send a request and read its reply. Raises Unanswered."""
        answered = False
        try:
            with gevent.Timeout(self._patience, Unanswered("timeout")):
                reply = self._ask(request)
            answered = True
        except OSError as broken:
            word = "timeout" if isinstance(broken, TimeoutError) else _WORDS.get(broken.errno, "unreachable")
            raise Unanswered(word) from None
        except (HTTPParseError, ValueError):
            raise Unanswered("broken off") from None
        finally:
            if not answered:
                # Wherever it was left off, the library may still hold the connection for taken.
                self._client.close()
                self._client = self._open()
        return reply

    def _ask(self, request: Request) -> Reply:
        headers = {"Authorization": f"Bearer {request.token}"} if request.token else {}
        body = b""
        if request.body is not None:
            headers["Content-Type"] = "application/json"
            body = msgspec.json.encode(request.body)
        method, _, path = request.name.partition(" ")
        response = self._client.request(method, request.path or path, body=body, headers=headers)
        said = response.read(REPLY_BYTES + 1)
        if len(said) > REPLY_BYTES:
            response.release()
            raise Unanswered("too large")
        return Reply(int(response.status_code), bytes(said))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class _Client(HTTPClient):
    """The library's, with a pool of one connection of ours."""

    def __init__(self, origin: Target, source: str | None, authority: str, patience: float) -> None:
        port: Any = origin.address[1]
        super().__init__(origin.host, port, headers={"User-Agent": "varde-loadtest"})
        self.ssl = origin.tls
        where = (origin.host, port, origin.host, port)
        kinds: dict[str, Any] = {"size": 1, "connection_timeout": patience, "network_timeout": patience}
        if origin.tls:
            pool: Any = _SecurePool(*where, ssl_context_factory=lambda **_: _trust(authority), **kinds)
        else:
            pool = _Pool(*where, **kinds)
        pool.origin, pool.source = origin, source
        self._connection_pool = pool


@functools.cache
def _trust(authority: str) -> ssl.SSLContext:
    """One context for everybody: it holds the certificates of every authority there is."""
    return ssl.create_default_context(cadata=authority or None)


class _Bound:
    """What both kinds of pool do otherwise than the library's."""

    origin: Target
    source: str | None

    def _resolve(self) -> list[Any]:
        # Once for all: a look-up for each connection would be part of its latency.
        return [(self.origin.family, socket.SOCK_STREAM, 0, "", self.origin.address)]

    def _create_tcp_socket(self, family: int, socktype: int, protocol: int) -> Any:
        opened = socket.socket(family, socktype, protocol)
        if self.source is not None:
            opened.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            opened.bind((self.source, 0))
        return opened

    def _is_socket_alive(self, kept: Any) -> bool:
        # The library asks select(2), which knows no descriptor above 1,023: every connection above would look dead.
        patience = kept.gettimeout()
        kept.settimeout(0.0)
        try:
            kept.recv(1, socket.MSG_PEEK)
        except OSError as refused:
            return refused.errno in {errno.EAGAIN, errno.EWOULDBLOCK}
        finally:
            kept.settimeout(patience)
        return False  # an end, or bytes that nobody asked for


class _Pool(_Bound, ConnectionPool):
    """Plain."""


class _SecurePool(_Bound, SSLConnectionPool):
    """With TLS."""
