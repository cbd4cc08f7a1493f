"""Where the relay is, and from which address each user comes.

A relay limits what one network address may do. On the loopback users therefore come from many, as people do, so that
the program under load is the one of production; from elsewhere they come from the addresses that a machine has.
"""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from gevent import socket
from msgspec import Struct

from loadtest.exits import CouldNotRun

_URLS: Final[dict[str, tuple[str, dict[str, int]]]] = {
    "relay": ("ws://host:port/path", {"ws": 80, "wss": 443}),
    "API": ("http://host:port", {"http": 80, "https": 443}),
}
SEATS_PER_ADDRESS: Final = 10  # a relay lets one address connect 50 times a second
"""A node that is killed brings everybody back at once: so few from one address stay within its limits even then."""
# Limits raised for the test would measure a program that nobody runs, by a switch that somebody could leave on.
_NETWORK: Final = int(ipaddress.IPv4Address("127.1.0.0"))
_HOSTS: Final = 250  # used of each 256, none of which ends in 0 or 255


class Target(Struct, frozen=True):
    """The address of a relay or an API, resolved once. `authority` and `path` go into the request."""

    family: int
    address: tuple[str | int, ...]
    host: str
    authority: str
    path: str
    tls: bool

    def source_of(self, seat: int, seats: int) -> str | None:
        """Return the address that a seat binds to, another than its neighbours'; None leaves it to the kernel."""
        if self.family != socket.AF_INET or not ipaddress.IPv4Address(str(self.address[0])).is_loopback:
            return None
        place = seat % max(1, -(-seats // SEATS_PER_ADDRESS))
        return str(ipaddress.IPv4Address(_NETWORK + place // _HOSTS * 256 + place % _HOSTS + 1))


def find_target(url: str, what: str = "relay") -> Target:
    """Read the URL of a relay or an `API` and look its host up. Raises CouldNotRun."""
    like, ports = _URLS[what]
    try:
        parts = urlsplit(url)
        port, host = parts.port or ports[parts.scheme], parts.hostname or ""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0] if host else None
    except (ValueError, KeyError):
        found = None
    except OSError as failure:
        raise CouldNotRun(f"the {what}'s host cannot be found ({failure.strerror})") from None
    if found is None:
        raise CouldNotRun(f"the {what}'s URL in the crowd's file is not like {like}")
    return Target(found[0], found[4], host, parts.netloc, parts.path or "/", parts.scheme in {"wss", "https"})
