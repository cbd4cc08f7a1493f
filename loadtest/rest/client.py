"""A person's HTTP connection to the API: one, kept open, from an address of its own; and what goes over it."""

import errno
import functools
import select
from http.client import HTTPConnection, HTTPException
from typing import Any, Final

import gevent
import msgspec
from gevent import monkey, socket, ssl

from loadtest.users.target import Target
from varde_contract.ids import decode_text_id
from varde_contract.rest.problems import Problem
from varde_contract.secret_struct import SecretStruct

PATIENCE: Final = 30.0
"""Seconds for one request in all. Whoever waits longer has gone; it is counted with the time that it waited."""
REPLY_BYTES: Final = 1 << 20  # the largest reply that is read. A roster of the largest conversation has a tenth of it
_WORDS: Final[dict[Any, str]] = {errno.ECONNREFUSED: "refused", errno.ECONNRESET: "reset", errno.EPIPE: "reset"}
_REFUSED: Final = 300  # RFC 9110, section 15: no operation redirects, so from here on all are refusals
_problem: Final = msgspec.json.Decoder(Problem, dec_hook=decode_text_id)
_poll: Final[Any] = monkey.get_original("select", "poll")  # gevent's own switches greenlets; this one never waits


class Request(SecretStruct, frozen=True, kw_only=True):
    """`name` is the operation as it stands in a report: method and path, without ids. `path`, where it has some."""

    name: str
    path: str = ""
    token: str = ""
    body: Any = None  # sent as JSON; None sends none
    answer: Any = None  # the type that a good reply's body has to be of; None takes an empty one


class RequestFailed(Exception):
    """The request was refused, or got no reply that could be read; the text is the word to count it by."""


class ApiClient:
    """Asks one thing at a time, for `patience` seconds at most."""

    def __init__(
        self, origin: Target, source: str | None = None, *, authority: str = "", patience: float = PATIENCE
    ) -> None:
        """`source` is the address to bind to; `authority` is the PEM of whom to trust, else whom the system trusts."""
        self._http = _Connection(origin, source, authority)
        self._patience = patience

    def ask(self, request: Request) -> Any:
        """Send a request and return what the reply's body says. Raises RequestFailed."""
        status, body = self._exchange(request)
        try:
            if status >= _REFUSED:
                raise RequestFailed(f"{status} {_problem.decode(body).code}")
            if request.answer is not None:
                return msgspec.json.decode(body, type=request.answer, dec_hook=decode_text_id)
        except msgspec.MsgspecError:
            raise RequestFailed(str(status) if status >= _REFUSED else "malformed") from None
        if body:
            raise RequestFailed("malformed")
        return None

    def _exchange(self, request: Request) -> tuple[int, bytes]:
        headers, body = {"User-Agent": "varde-loadtest"}, None
        if request.token:
            headers["Authorization"] = f"Bearer {request.token}"
        if request.body is not None:
            headers["Content-Type"] = "application/json"
            body = msgspec.json.encode(request.body)
        method, _, path = request.name.partition(" ")
        whole = False
        try:
            with gevent.Timeout(self._patience, RequestFailed("timeout")):
                self._http.close_if_stale()
                self._http.request(method, request.path or path, body, headers)
                response = self._http.getresponse()
                said = response.read(REPLY_BYTES + 1)
            if len(said) > REPLY_BYTES:
                raise RequestFailed("too large")
            if response.length:  # what was announced and did not come
                raise RequestFailed("broken off")
            whole = True
        except HTTPException:  # before OSError: an end without a reply is both
            raise RequestFailed("broken off") from None
        except OSError as broken:
            word = "timeout" if isinstance(broken, TimeoutError) else _WORDS.get(broken.errno, "unreachable")
            raise RequestFailed(word) from None
        finally:
            if not whole:  # also when its user was stopped: the next request gets a new connection
                self._http.close()
        return response.status, said

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


class _Connection(HTTPConnection):
    """Connects to an address that was looked up once for all: a look-up for each would be part of its latency."""

    def __init__(self, origin: Target, source: str | None, authority: str) -> None:
        super().__init__(origin.host, int(origin.address[1]))
        self._origin, self._source, self._authority = origin, source, authority
        self.sock: Any = None

    def connect(self) -> None:
        origin = self._origin
        self.sock = socket.socket(origin.family, socket.SOCK_STREAM)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._source is not None:
            self.sock.bind((self._source, 0))
        self.sock.connect(origin.address)
        if origin.tls:
            self.sock = _trust(self._authority).wrap_socket(self.sock, server_hostname=origin.host)

    def close_if_stale(self) -> None:
        """Close a connection that the API ended while it was idle, or on which it said what nobody asked for."""
        if self.sock is not None:
            poll = _poll()  # not select(2), which knows no descriptor above 1,023
            poll.register(self.sock, select.POLLIN)
            if poll.poll(0):
                self.close()


@functools.cache
def _trust(authority: str) -> Any:
    """One context for everybody: it holds the certificates of every authority there is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # create_default_context makes one that blocks, unless patched
    if authority:
        context.load_verify_locations(cadata=authority)
    else:
        context.load_default_certs()
    return context
