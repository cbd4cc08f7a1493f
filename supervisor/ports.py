"""Addresses to bind to: parsed, and for port 0 chosen once, so that a program comes back where its clients look for it.

Nobody listens here.
"""

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PORT_MAX = 65_535


class BadAddress(Exception):
    """Not an address of the form host:port, or none of this machine."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host (name, IPv4, or IPv6 without brackets) and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read `host:port` or `[ipv6]:port`. Raises BadAddress."""
        host, colon, port = text.rpartition(":")
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if not (colon and host and port.isascii() and port.isdigit() and int(port) <= PORT_MAX):
            raise BadAddress(f"'{text}' is not an address: write host:port, for example 127.0.0.1:8400")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def reachable(self) -> "Address":
        """The same as seen from this machine: a program that listens everywhere is also at the loopback address."""
        loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  compared with, never bound to
        return Address(loopback.get(self.host, self.host), self.port)


@contextmanager
def reserve(address: Address) -> Iterator[Address]:
    """Yield the address as it is or, for port 0, with a free port that stays ours while the block runs.

    A socket that is bound but does not listen keeps the kernel from giving the port to anybody else's outgoing
    connection, while a program that sets SO_REUSEADDR, as ours do, may listen on it. Elsewhere than on Linux such a
    program could not, so the port is only looked up there.

    Raises BadAddress when the host is no address of this machine.
    """
    if address.port:
        yield address
        return
    with _bind(Address(address.host, 0), socket.SO_REUSEADDR) as held:
        chosen = Address(address.host, held.getsockname()[1])
        if sys.platform != "linux":
            held.close()
        yield chosen


@contextmanager
def reserve_shared(address: Address) -> Iterator[Address]:
    """Yield the address, with a free port for port 0, where several programs may listen at once with SO_REUSEPORT.

    The kernel lets any program of the same user join in that sets SO_REUSEPORT, and would spread clients over all of
    them: so it is made sure that nobody listens there yet. Our own socket never listens, and is never given a client.

    Raises BadAddress when the host is no address of this machine, or somebody listens there.
    """
    if address.port:
        _bind(address, socket.SO_REUSEADDR).close()  # in the way of whoever listens, but not of what is long closed
    with _bind(address, socket.SO_REUSEADDR, socket.SO_REUSEPORT) as held:
        yield Address(address.host, held.getsockname()[1])


def later_port(address: Address, steps: int) -> Address:
    """Return the address so many ports on; 0, any port, stays. Raises BadAddress when there are no more."""
    if not address.port or not steps:
        return address
    if address.port + steps > PORT_MAX:
        raise BadAddress(f"{address} leaves no port for each worker: choose a lower one")
    return Address(address.host, address.port + steps)


def _bind(address: Address, *options: int) -> socket.socket:
    try:
        family, _, _, _, _ = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        held = socket.socket(family, socket.SOCK_STREAM)
        try:
            for option in options:
                held.setsockopt(socket.SOL_SOCKET, option, 1)
            held.bind((address.host, address.port))
        except BaseException:
            held.close()
            raise
    except OSError as error:
        raise BadAddress(_why_not(address, error)) from None
    return held


def _why_not(address: Address, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"address in use: another program listens at {address}; stop it, or choose another address"
        case errno.EACCES:
            return f"this user may not listen at {address}: choose a port above 1023"
        case _:
            return f"{address.host} is no address of this machine: use 127.0.0.1, or 0.0.0.0 for all of them"
