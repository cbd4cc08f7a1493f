"""Where the API is, and connections to it from an address of the caller's own.

What one network address may do is limited. On the loopback callers therefore come from many, as people do.
"""

import errno
import functools
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

from gevent import socket
from geventhttpclient.connectionpool import ConnectionPool, SSLConnectionPool
from msgspec import Struct

from loadtest.crowd.crowd import CrowdError
from loadtest.users.target import Target

_PORTS: Final = {"http": 80, "https": 443}
_BIND_ADDRESS_NO_PORT: Final = 24
"""ip(7): the port is chosen at connect, so that each source address has all ports for itself. Not in Python 3.11."""


class Origin(Struct, frozen=True):
    """The API's address, resolved once."""

    host: str
    port: int
    tls: bool
    target: Target

    authority: str = ""
    """PEM of whom to trust; empty for those whom the system trusts."""

    def source_of(self, seat: int, seats: int) -> str | None:
        """Return the address that a seat binds to; None leaves the choice to the kernel."""
        return self.target.source_of(seat, seats)


def find_origin(url: str, authority: str = "") -> Origin:
    """Read an `http://` or `https://` URL and look its host up. Raises CrowdError."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
        host = parts.hostname or ""
    except (ValueError, KeyError):
        host, port = "", 0
    if not host or parts.scheme not in _PORTS:
        raise CrowdError("the API's URL in the crowd's file is not like http://host:port")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as failure:
        raise CrowdError(f"the API's host cannot be found ({failure.strerror})") from None
    tls = parts.scheme == "https"
    return Origin(host, port, tls, Target(found[0], found[4], host, parts.netloc, parts.path or "/", tls), authority)


class _Bound:
    """What both kinds of pool of one connection do otherwise than the library's."""

    origin: Origin
    source: str | None

    def _resolve(self) -> list[Any]:
        # Once for all callers: a look-up for each connection would be part of its latency.
        target = self.origin.target
        return [(target.family, socket.SOCK_STREAM, 0, "", target.address)]

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


class _BoundPool(_Bound, ConnectionPool):
    """Plain."""


class _BoundSecurePool(_Bound, SSLConnectionPool):
    """With TLS."""


@functools.cache
def _trust(authority: str) -> ssl.SSLContext:
    """One context for all callers: it holds the certificates of every authority there is."""
    return ssl.create_default_context(cadata=authority or None)


def open_pool(origin: Origin, source: str | None, patience: float) -> ConnectionPool:
    """Return a pool of one connection, which is opened when it is needed. `patience`: seconds for each wait."""
    kinds: dict[str, Any] = {"size": 1, "connection_timeout": patience, "network_timeout": patience}
    where = (origin.host, origin.port, origin.host, origin.port)
    if origin.tls:
        pool: Any = _BoundSecurePool(*where, ssl_context_factory=lambda **_: _trust(origin.authority), **kinds)
    else:
        pool = _BoundPool(*where, **kinds)
    pool.origin, pool.source = origin, source
    return pool  # type: ignore[no-any-return]  # the library has no types
