"""Limits: unauthenticated connections and handshakes at once, connects per address, frames and bytes per device."""

from collections import Counter, OrderedDict
from contextlib import ExitStack
from random import Random
from typing import Final
from weakref import WeakValueDictionary

import trio

from observability.loop_lateness import TICK
from relay.connection.newcomers import Newcomers
from relay.metrics.counters import Metrics
from relay.metrics.labels import HandshakeOutcome, Hostility
from settings.relay import RelaySettings
from varde_contract.client_address import client_address, network_of
from varde_contract.close_codes import CloseCode
from varde_contract.errors import PeerFault
from varde_contract.frames import MalformedFrame, Presence, Probe, ReceivedFrame, Typing
from varde_contract.ids import AccountId
from varde_contract.limits import FRAMES_PER_MESSAGE, NOISE_MESSAGE_BYTES
from varde_contract.refusals import RefusalCode, Refused

ADDRESSES: Final = 20_000
"""Networks remembered, in 4 MB. The least recently used is forgotten first. It then has a full bucket again, so an
attacker with more networks than these is only held back by the limits on all of them together."""
ADDRESS_BURST: Final = 10.0
"""Seconds' worth of connects that may come at once: an office or a train behind one NAT comes back at once."""
BUSY_RETRY: Final = 2.0
"""Seconds. A client that was turned away is told to come back after once to twice that, at random."""
MOST_RETRY: Final = 30.0
"""Seconds, before the random part: no client is sent away for longer than its own backoff grows to."""

LATENESS_FADING: Final = 0.5
"""How much of the loop's lateness still counts a second later."""

_FADING_PER_TICK: Final = LATENESS_FADING**TICK
_EPHEMERAL: Final = frozenset({Typing, Presence, Probe})
_LOOKED_AT: Final = _EPHEMERAL | {MalformedFrame}


class TokenBucket:
    """A token bucket: `rate` tokens a second, never more than `size`; it starts full."""

    # Not `domain.budgets.TokenBuckets`, which has a bucket for each of many keys, takes at once and counts for other
    # processes: on a busy machine 1.9 microseconds a call instead of 0.9 to 1.1, twice for each message, and frames and
    # bytes could not be asked for together.

    __slots__ = ("_at", "_rate", "_size", "tokens")

    def __init__(self, rate: float, size: float, now: float) -> None:
        self._rate = rate
        self._size = size
        self._at = now
        self.tokens = size
        """As of the last `wait_for`. Who was told that there are enough takes them off here: a call costs as much."""

    def wait_for(self, tokens: float, now: float) -> float:
        """Return the seconds until there are this many tokens, 0 if there are. `now` is Trio's time.

        For more than `size` tokens that time never comes.
        """
        there = self.tokens + (now - self._at) * self._rate
        if there > self._size:  # noqa: PLR1730 - twice for each message: a call of `min` takes as long as the rest
            there = self._size
        self.tokens, self._at = there, now
        return 0.0 if there >= tokens else (tokens - there) / self._rate


class RateLimiter:
    """What one account may send over its connections: frames and bytes, and how often it may go on after a refusal."""

    __slots__ = ("__weakref__", "_bytes", "_ephemeral", "_frames", "_strikes")

    def __init__(self, settings: RelaySettings, now: float) -> None:
        # The largest message must be possible, however low the rates are set.
        frames = max(FRAMES_PER_MESSAGE, settings.frames_per_second * settings.burst)
        size = max(NOISE_MESSAGE_BYTES, settings.bytes_per_second * settings.burst)
        ephemeral = max(1.0, settings.ephemeral_per_second * settings.burst)
        self._frames = TokenBucket(settings.frames_per_second, frames, now)
        self._bytes = TokenBucket(settings.bytes_per_second, size, now)
        self._ephemeral = TokenBucket(settings.ephemeral_per_second, ephemeral, now)
        self._strikes = TokenBucket(1.0, settings.strikes, now)

    def check_message(self, frames: int, size: int, now: float) -> Refused | None:
        """Check a message against the limits. Refuses `rate-limited`; raises PeerFault if that is ignored for long."""
        for_frames, for_bytes = self._frames.wait_for(frames, now), self._bytes.wait_for(size, now)
        if not (for_frames or for_bytes):
            self._frames.tokens -= frames
            self._bytes.tokens -= size
            return None
        self._strike(now)
        return _slower(max(for_frames, for_bytes))

    def check_frame(self, frame: ReceivedFrame, now: float) -> Refused | None:
        """Check one frame of such a message. Refuses `rate-limited` to ephemeral ones, without a strike.

        Refuses `malformed` with one: a client that stores what it sends and repeats it would never stop.
        """
        if type(frame) not in _LOOKED_AT:
            return None
        if isinstance(frame, MalformedFrame):
            self._strike(now)
            return Refused(RefusalCode.MALFORMED, frame.detail)
        wait = self._ephemeral.wait_for(1, now)
        if wait:
            return _slower(wait)
        self._ephemeral.tokens -= 1
        return None

    def _strike(self, now: float) -> None:
        """Count what a client should have known better than to send. Raises PeerFault when there is no more of it."""
        if self._strikes.wait_for(1, now):
            raise PeerFault("limits or refusals were ignored again and again", CloseCode.ABUSE)
        self._strikes.tokens -= 1


def _slower(wait: float) -> Refused:
    # One more than rounded: a client that comes a fraction too early is refused again.
    retry_after_ms = round(wait * 1_000) + 1
    return Refused(RefusalCode.RATE_LIMITED, "Too much at once. Send slower.", retry_after_ms=retry_after_ms)


class ConnectionCount:
    """Counts connections in total and by network, and says whether there is room for one more."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._by_network: Counter[str] = Counter()
        self._total = 0

    def __len__(self) -> int:
        return self._total

    @property
    def full(self) -> bool:
        """Whether there is no room at all."""
        return self._total >= self._most

    def full_of(self, network: str) -> bool:
        """Whether there is no room for one from this network."""
        return self._by_network[network] >= self._most_of_one

    def count(self, network: str, stay: ExitStack) -> None:
        """Count one until `stay` ends."""
        self._total += 1
        self._by_network[network] += 1
        stay.callback(self._discount, network)

    def _discount(self, network: str) -> None:
        self._total -= 1
        self._by_network[network] -= 1
        # A Counter keeps zeros: strangers of ever new networks would fill the memory.
        if not self._by_network[network]:
            del self._by_network[network]


class Admission:
    """Decides which connections are accepted before they are authenticated, and which may begin a handshake."""

    def __init__(self, settings: RelaySettings, random: Random, metrics: Metrics) -> None:
        self._settings = settings
        self.newcomers = Newcomers(settings.newcomers, settings.newcomer_patience)
        self._random = random
        self._metrics = metrics
        self._addresses: OrderedDict[str, TokenBucket] = OrderedDict()
        self._unauthenticated = ConnectionCount(settings.strangers, settings.strangers_per_address)
        self._handshakes = ConnectionCount(settings.handshakes, settings.handshakes_per_address)
        rate, now = settings.handshakes_per_second, trio.current_time()
        self._pace = TokenBucket(rate, rate, now)
        self._turned_away = TokenBucket(rate, rate * MOST_RETRY, now)
        """What it lacks are those who were told to come back, less those for whom there was time since."""
        # Weak, so that nothing has to be swept. Reconnecting for a full bucket costs a handshake: those are limited.
        self._rate_limiters: WeakValueDictionary[AccountId, RateLimiter] = WeakValueDictionary()
        self.closed = False
        """Whether the node is shutting down: no handshake begins any more."""
        self.lateness = 0.0
        """How late the loop ran lately, in seconds."""

    @property
    def unauthenticated(self) -> int:
        """Connections that are not authenticated yet, those in a handshake included."""
        return len(self._unauthenticated)

    @property
    def handshakes(self) -> int:
        """Those in a handshake."""
        return len(self._handshakes)

    def note_lateness(self, lateness: float) -> None:
        """Note how late the loop just was. Nobody new is let in until it has been good for a while."""
        self._metrics.lateness.observe(lateness)
        self.lateness = max(lateness, self.lateness * _FADING_PER_TICK)

    def rate_limiter(self, account: AccountId, now: float) -> RateLimiter:
        """Return the limiter that all connections of an account share; it lives as long as one of them."""
        limiter = self._rate_limiters.get(account)
        if limiter is None:
            limiter = self._rate_limiters[account] = RateLimiter(self._settings, now)
        return limiter

    def admit_connection(self, address: str, stay: ExitStack) -> bool:
        """Count a connection that is not authenticated until `stay` ends; False when there is no room for it."""
        network = network_of(address)
        # Behind a load balancer all connections have one address; the client's is only known once the request is read.
        if self._unauthenticated.full or (not self._settings.proxies and self._unauthenticated.full_of(network)):
            self._metrics.handshakes[HandshakeOutcome.CROWDED_OUT] += 1
            self._metrics.hostile[Hostility.CROWD] += 1
            return False
        self._unauthenticated.count(network, stay)
        return True

    def admit_handshake(self, address: str, forwarded: str, stay: ExitStack) -> Refused | None:
        """Let a handshake begin, and count it until `stay` ends. Refuses `overloaded` and `rate-limited`.

        `forwarded` is the request's X-Forwarded-For. It is only looked at behind load balancers: anybody can send one.
        """
        # By network, an IPv6 /64: a single customer has 2^64 addresses.
        network = network_of(client_address(address, forwarded, self._settings.proxies))
        if self.closed or self._handshakes.full or self.lateness > self._settings.lateness:
            return self._refuse(RefusalCode.OVERLOADED, "The node is at its limit.", BUSY_RETRY)
        if self._handshakes.full_of(network):
            return self._refuse(RefusalCode.RATE_LIMITED, "Too many handshakes from there.", BUSY_RETRY)
        now = trio.current_time()
        bucket = self._bucket(network, now)
        # Before the pace: who comes too often from one network must not stand in the queue of the crowd as well.
        wait = bucket.wait_for(1, now)
        if wait:
            return self._refuse(RefusalCode.RATE_LIMITED, "Too many connects from there.", max(wait, 1.0))
        # The pace is the most that a node takes, and the newcomers are what it gets done.
        if self._pace.wait_for(1, now) or self.newcomers.full:
            return self._refuse(RefusalCode.OVERLOADED, "Too many come at once.", self._queue(now))
        # Only taken now: who is turned away because the node is busy does not pay for it with its network's tokens.
        bucket.tokens -= 1
        self._pace.tokens -= 1
        self._handshakes.count(network, stay)
        return None

    def _queue(self, now: float) -> float:
        """Return the seconds until there is time for one more, behind all who were told to come back before.

        A crowd of ten thousand that is told two seconds comes back as a crowd. Told like this, it comes as it can be
        served, and nearly everybody is turned away once.
        """
        if not self._turned_away.wait_for(1, now):
            self._turned_away.tokens -= 1
        return max(BUSY_RETRY, self._turned_away.wait_for(self._settings.handshakes_per_second * MOST_RETRY, now))

    def _refuse(self, code: RefusalCode, detail: str, seconds: float) -> Refused:
        return Refused(code, detail, retry_after_ms=round(seconds * self._random.uniform(1, 2) * 1_000))

    def _bucket(self, network: str, now: float) -> TokenBucket:
        rate = self._settings.connects_per_second
        bucket = self._addresses.pop(network, None) or TokenBucket(rate, rate * ADDRESS_BURST, now)
        self._addresses[network] = bucket
        if len(self._addresses) > ADDRESSES:
            self._addresses.popitem(last=False)
        return bucket
