"""How often a network may try to sign in, and an account invite: a token bucket for each, in memory, bounded.

Each API process counts for itself.
"""

from collections import OrderedDict
from typing import Final

from domain.ports import Clock
from settings.api import Allowance
from varde_contract.ids import AccountId
from varde_contract.networks import network_of
from varde_contract.refusals import RefusalCode, Refused

SECOND: Final = 1_000
CAPACITY: Final = 50_000
"""Keys; past that the one that asked longest ago is forgotten, which only ever lets it ask again."""
TOO_MANY_SIGN_INS: Final = "Too many sign-ins from this network address. Wait a moment."
TOO_MANY_INVITATIONS: Final = "This account opens too many conversations. Wait a moment."


class Buckets:
    """A token bucket for each of many keys. `spend` is a plain function: nothing happens between looking and taking."""

    def __init__(self, allowance: Allowance, too_many: str, *, clock: Clock, capacity: int = CAPACITY) -> None:
        """`too_many` is what a person is told when the bucket is empty."""
        self._burst = allowance.burst
        self._refill_ms = allowance.refill * SECOND
        self._too_many = too_many
        self._clock = clock
        self._capacity = capacity
        # Not how many tokens are left, but when the bucket is full again: one number says both, and needs no ticking.
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def spend(self, key: str) -> Refused | None:
        """Take one token of a key. Refuses `rate-limited`, and says when there is a token again."""
        now = float(self._clock())
        full_at = max(self._full_at.get(key, now), now) + self._refill_ms
        short_ms = full_at - now - self._burst * self._refill_ms
        if short_ms > 0:
            return Refused(RefusalCode.RATE_LIMITED, self._too_many, retry_after_ms=int(short_ms) + 1)
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._capacity:
            self._full_at.popitem(last=False)
        return None

    def __len__(self) -> int:
        return len(self._full_at)


class SignInAllowance:
    """How often one network may try to sign in."""

    def __init__(self, allowance: Allowance, *, clock: Clock, capacity: int = CAPACITY) -> None:
        self._networks = Buckets(allowance, TOO_MANY_SIGN_INS, clock=clock, capacity=capacity)

    def spend(self, address: str) -> Refused | None:
        """Take one token of the network an address is in. Refuses `rate-limited`."""
        return self._networks.spend(network_of(address))

    def __len__(self) -> int:
        return len(self._networks)


class InvitationAllowance:
    """How often one account may bring people into conversations: it costs them memory, and they are not asked."""

    def __init__(self, allowance: Allowance, *, clock: Clock) -> None:
        self._accounts = Buckets(allowance, TOO_MANY_INVITATIONS, clock=clock)

    def spend(self, account: AccountId) -> Refused | None:
        """Take one token of an account. Refuses `rate-limited`."""
        return self._accounts.spend(account.hex)
