"""What an account may cost: a token bucket for each budget and account, in memory, bounded.

Limits count accounts, because an account makes devices, connections and sessions as it likes; and they count what
others must do in response, because one call may make thousands of others work. Each process counts for itself, and
`domain.spending` adds up what they gave.
"""

import enum
import math
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from itertools import islice
from typing import Final, Generic, TypeVar

from msgspec import Struct

from domain.ports import Clock
from varde_contract.ids import AccountId
from varde_contract.limits import KIB
from varde_contract.refusals import RefusalCode, Refused

SECOND: Final = 1_000
MIB: Final = 1_024 * KIB
CAPACITY: Final = 50_000
"""Keys remembered. A key whose bucket is full again is forgotten, because nothing is lost with it."""
SWEEP: Final = 1 * SECOND
"""Between two looks at all keys: of a crowd of newcomers, not each one pays for a look."""
CHUNK: Final = 1 / 16
"""Of a burst: what a process gives somebody before it tells the others. Hardly anybody ever comes that far, so the
store hears of a few accounts a second and not of all."""

K = TypeVar("K", bound=Hashable)


class Allowance(Struct, frozen=True):
    """A token bucket: `burst` at once, then `per_second` more. `told` is what a person reads when it is empty."""

    burst: float
    per_second: float
    told: str


class Budget(enum.StrEnum):
    """What is counted. The words are those of the metrics."""

    REQUESTS = "requests"
    SENDS = "sends"
    BYTES = "bytes"
    STORED_BYTES = "stored-bytes"
    DELIVERIES = "deliveries"
    PREKEYS = "prekeys"
    CLAIMS = "claims"
    ROSTER_MOVES = "roster-moves"
    INVITATIONS = "invitations"
    STRANGERS = "strangers"
    LOOK_UPS = "look-ups"


ALLOWANCES: Final[Mapping[Budget, Allowance]] = {
    # A client that resumes with thousands of conversations asks for many rosters in a row.
    Budget.REQUESTS: Allowance(1_000, 50, "This account asks too much at once. Ask slower."),
    # Over REST only: it is for what does not fit a Noise message and for clients without a socket.
    Budget.SENDS: Allowance(200, 20, "This account sends too many messages over REST. Use the relay, or send slower."),
    Budget.BYTES: Allowance(32 * MIB, 4 * MIB, "This account sends too many bytes at once. Send slower."),
    # What lies in the log until it is fetched, at most 30 days: a gigabyte of text in all that time.
    Budget.STORED_BYTES: Allowance(1_024 * MIB, 1_024 * MIB / (30 * 86_400), "This account stores too much. Wait."),
    # Each recipient device is work for the relay and the device. Two full groups of 1,024 devices a second.
    Budget.DELIVERIES: Allowance(65_536, 2_048, "This account makes too many devices receive. Send slower."),
    # Each is a signature to check and a row; a device needs fifty, and one more for each conversation opened with it.
    Budget.PREKEYS: Allowance(1_600, 2, "This account uploads too many prekeys. Wait a moment."),
    # Each is a key that its device has to make again. A full group of 1,024 devices, twice.
    Budget.CLAIMS: Allowance(2_048, 2, "This account claims too many prekeys. Wait a moment."),
    # Each makes every device of every co-member fetch a roster, and voids what is being sent meanwhile.
    Budget.ROSTER_MOVES: Allowance(60, 1 / 10, "This account changes devices or members too often. Wait a moment."),
    # An invitation costs those who are invited memory and attention, and they are not asked.
    Budget.INVITATIONS: Allowance(200, 1 / 5, "This account invites too often. Wait a moment."),
    # Who begins asks a full group at once; ten an hour are more new people than anybody meets, and few for who spams.
    Budget.STRANGERS: Allowance(64, 10 / 3_600, "This account asked too many people it shares nothing with. Wait."),
    # User names and links are looked up whole, one by one, by people. Nobody needs more of it who is not guessing.
    Budget.LOOK_UPS: Allowance(10, 10 / 60, "This account looks up too many names and links. Wait a moment."),
}


class TokenBuckets(Generic[K]):
    """A token bucket for each of many keys. `spend` is a plain function: nothing happens between looking and taking."""

    # `relay.connection.admission.TokenBucket` is another class on purpose. There the owner holds its one bucket, may
    # look into two before it takes from either, and does so for every message that comes in: no look-up by key, no
    # `Refused` that is made, no capacity, and nothing that other processes have to hear of.

    def __init__(self, allowance: Allowance, *, clock: Clock, capacity: int = CAPACITY) -> None:
        self._allowance = allowance
        self._refill_ms = SECOND / allowance.per_second
        self._most_ms = allowance.burst * self._refill_ms
        self._clock = clock
        self._capacity = capacity
        # Not how many tokens are left, but when the bucket is full again: one number says both, and needs no ticking.
        self._full_at: dict[K, float] = {}
        self._newcomers_full_at = 0.0
        self._swept_at = -math.inf
        # Whom other processes have to hear of, and how many milliseconds of refilling were given since they last did.
        self._due: dict[K, float] = {}
        self._chunk_ms = math.inf
        self.refused = 0

    def spend(self, key: K, amount: float = 1) -> Refused | None:
        """Take tokens of a key, all or none. Refuses `rate-limited`, and says when there are enough again.

        More than the burst at once is never there: who asks for it has to ask for less.
        """
        now = self._clock()
        full_at = self._full_at.get(key)
        known = full_at is not None or self._has_room(now)
        if full_at is None or full_at < now:
            # Past the capacity nobody is forgotten, or a crowd of fresh keys would wash out the one that is limited:
            # who is new shares one bucket with all others that are new.
            full_at = now if known else max(self._newcomers_full_at, now)
        full_at += amount * self._refill_ms
        short_ms = full_at - now - self._most_ms
        if short_ms > 0:
            self.refused += 1
            return Refused(RefusalCode.RATE_LIMITED, self._allowance.told, retry_after_ms=int(short_ms) + 1)
        if known:
            self._full_at[key] = full_at
            # For hardly anybody, and so no more than a comparison on the way of each message.
            if full_at - now > self._chunk_ms:
                self._count(key, amount, full_at - now)
        else:
            self._newcomers_full_at = full_at
        return None

    def share(self) -> None:
        """Count from now on what other processes have to hear of."""
        self._chunk_ms = self._most_ms * CHUNK

    def _count(self, key: K, amount: float, debt_ms: float) -> None:
        spent_ms = amount * self._refill_ms
        if key in self._due:
            self._due[key] += spent_ms
        else:
            self._due[key] = debt_ms  # all that is not refilled yet, none of which was reported

    def take_due(self, most: int) -> list[tuple[K, float]]:
        """Return who is to be reported, and what they were given, as the milliseconds in which that refills.

        Those who had a chunk, and from then on everybody who is not full again: others may give to them, too.
        """
        if not self._due:
            return []  # asked once a second of each budget, and nearly always so
        now = self._clock()
        for key in [key for key in self._due if self._full_at.get(key, 0.0) <= now]:
            del self._due[key]
        due = [(key, self._due.pop(key)) for key in list(islice(self._due, most))]
        self._due |= {key: 0.0 for key, _ in due}  # at the end now, so that all have their turn
        return due

    def learn(self, key: K, full_in_ms: float) -> None:
        """All processes together have given so much that the bucket is full only then."""
        since_ms = self._due.get(key, 0.0)  # given here while the report was on its way
        self._full_at[key] = max(self._full_at.get(key, 0.0), self._clock() + full_in_ms + since_ms)

    def _has_room(self, now: float) -> bool:
        if len(self._full_at) >= self._capacity and now >= self._swept_at + SWEEP:
            self._swept_at = now
            self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        return len(self._full_at) < self._capacity

    def __len__(self) -> int:
        return len(self._full_at)


class Budgets:
    """Every budget of every account, at one face."""

    def __init__(self, *, clock: Clock, allowances: Mapping[Budget, Allowance] = ALLOWANCES) -> None:
        """`clock` must be one that cannot be set back."""
        self.clock = clock
        # By the number of the account's id: to hash a UUID takes Python. So does a member of an enumeration, and each
        # message spends two of these budgets: they are looked up once.
        self._buckets: dict[Budget, TokenBuckets[int]] = {
            budget: TokenBuckets(allowance, clock=clock) for budget, allowance in allowances.items()
        }
        self._deliveries = self._buckets.get(Budget.DELIVERIES)
        self._stored_bytes = self._buckets.get(Budget.STORED_BYTES)

    @property
    def refused(self) -> Counter[Budget]:
        """How many refusals there were of each budget, for metrics."""
        return Counter({budget: buckets.refused for budget, buckets in self._buckets.items()})

    def by_name(self) -> Iterator[tuple[Budget, TokenBuckets[int]]]:
        """Return the buckets of each budget, by the number of the account's id."""
        yield from self._buckets.items()

    def spend(self, account: AccountId, budget: Budget, amount: float = 1) -> Refused | None:
        """Take from one budget. Refuses `rate-limited`; a budget without an allowance is without a limit."""
        buckets = self._buckets.get(budget)
        return None if buckets is None else buckets.spend(account.int, amount)

    def spend_send(self, account: AccountId, size: int, recipients: int) -> Refused | None:
        """Take what storing one message costs: `size` bytes of ciphertext for so many devices."""
        if self._deliveries is not None and (refused := self._deliveries.spend(account.int, recipients)):
            return refused
        return None if self._stored_bytes is None else self._stored_bytes.spend(account.int, size)
