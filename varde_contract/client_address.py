"""The network address of a client: which addresses count as one, and which one a load balancer names."""

import ipaddress
from functools import lru_cache
from typing import Final

IPV6_HOST_BITS: Final = 64


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
    return hops[-proxies] if 0 < proxies <= len(hops) else peer
