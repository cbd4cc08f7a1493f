"""How often one network address may try to sign in: a token bucket for each, in memory, bounded.

Refuses to know people: it sees where a request comes from and nothing else. Each API process counts for itself.
"""

import ipaddress
from collections import OrderedDict
from typing import Final

from api.config import Allowance
from contract.refusals import RefusalCode, Refused
from domain.ports import Clock

SECOND: Final = 1_000
CAPACITY: Final = 50_000
"""Addresses; past that the one that asked longest ago is forgotten, which only ever lets it ask again."""
IPV6_HOST_BITS: Final = 64


class SignInAllowance:
    """The buckets. `spend` is a plain function: nothing happens between looking and taking."""

    def __init__(self, allowance: Allowance, *, clock: Clock, capacity: int = CAPACITY) -> None:
        self._burst = allowance.burst
        self._refill_ms = allowance.refill * SECOND
        self._clock = clock
        self._capacity = capacity
        # Not how many tokens are left, but when the bucket is full again: one number says both, and needs no ticking.
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def spend(self, address: str) -> Refused | None:
        """Take one token of an address. Refuses `rate-limited`, and says when there is a token again."""
        network, now = network_of(address), float(self._clock())
        full_at = max(self._full_at.get(network, now), now) + self._refill_ms
        short_ms = full_at - now - self._burst * self._refill_ms
        if short_ms > 0:
            return Refused(
                RefusalCode.RATE_LIMITED,
                "Too many sign-ins from this network address. Wait a moment.",
                retry_after_ms=int(short_ms) + 1,
            )
        self._full_at[network] = full_at
        self._full_at.move_to_end(network)
        if len(self._full_at) > self._capacity:
            self._full_at.popitem(last=False)
        return None

    def __len__(self) -> int:
        return len(self._full_at)


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
