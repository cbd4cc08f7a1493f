"""Addresses to bind to: parsed, and for port 0 chosen once, so that a program comes back where its clients look for it.

Nobody listens here.
"""

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
    with _bind(address.host) as held:
        chosen = Address(address.host, held.getsockname()[1])
        if sys.platform != "linux":
            held.close()
        yield chosen


def _bind(host: str) -> socket.socket:
    try:
        family, _, _, _, _ = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        held = socket.socket(family, socket.SOCK_STREAM)
        try:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind((host, 0))
        except BaseException:
            held.close()
            raise
    except OSError:
        raise BadAddress(f"{host} is no address of this machine: use 127.0.0.1, or 0.0.0.0 for all of them") from None
    return held
