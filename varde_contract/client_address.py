"""The network address of a client: which addresses count as one, and which one a load balancer names."""

import ipaddress
import re
from functools import lru_cache
from typing import Final

IPV6_HOST_BITS: Final = 64
"""A customer is given a /64 at least (RFC 6177), and may come from each of its addresses."""
# Balancers append an address as they know it: some with the port, IPv6 then in brackets (RFC 7239 section 6).
_WITH_PORT: Final = re.compile(r"\[(?P<v6>[^\]]*)\](?::\d+)?|(?P<v4>[\d.]+):\d+")


@lru_cache(maxsize=4_096)
def network_of(address: str) -> str:
    """Return what counts as one: an IPv4 address, or the /64 that a single IPv6 client has to itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""  # what cannot be read shares one bucket
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(parsed) >> IPV6_HOST_BITS << IPV6_HOST_BITS))


def client_address(peer: str, forwarded: str, proxies: int) -> str:
    """Return the address of the client behind `proxies` load balancers that each appended one to X-Forwarded-For.

    With none, the header is anybody's claim and is not looked at.
    """
    hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()]
    return _without_port(hops[-proxies]) if 0 < proxies <= len(hops) else peer


def _without_port(hop: str) -> str:
    found = _WITH_PORT.fullmatch(hop)
    return (found["v6"] or found["v4"] or "") if found else hop
