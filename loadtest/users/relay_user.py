"""One user: how it treats the connections of its device, one after the other, as a greenlet that mostly sleeps."""

import time
from random import Random
from typing import Final

import gevent
from gevent.event import Event

from loadtest.client.epoll import HANGUP, Connection
from loadtest.client.protocol import Ending
from loadtest.scenarios.plan import Behaviour
from loadtest.users.device import NEVER, Device
from loadtest.users.population import Population, behaviour_of

CONNECT_SECONDS: Final = 15.0  # from the first SYN until everything is joined; the relay itself gives a handshake ten
LEAVE_SECONDS: Final = 5.0  # to have everything answered and the connection closed in good order
SILENT_HEARTBEATS: Final = 2.0  # without a sign of life of the relay, until a client should come again
SLOW_SECONDS: Final = 2.0  # between two reads of a slow reader
SLOW_BYTES: Final = 4_096  # what it reads at a time
FIRST_SECONDS: Final = 0.5
MOST_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 5.0
"""A connection that lived this long was a good one: the next try starts from a short pause again."""
_DOUBLINGS: Final = 16  # the bound is at its most long before, and 2 ** 10_000 is no float
_FOR_GOOD: Final = range(4_100, 4_200)
_AWAY_SHARE: Final = 1 / 6  # of the time that a fleeting user stays, on average, that it is away
_MOST_MEANS: Final = 5.0  # of a drawn time: now and then one would be longer than the run
_SENDERS: Final = frozenset({Behaviour.STEADY, Behaviour.FLEETING})  # whose acks are read as they come


class RelayUser:
    """Somebody in a seat. All but `live` may be called from anywhere, and never waits."""

    __slots__ = ("_away", "_behaviour", "_over", "_population", "_resume_at", "_wanted", "_woken", "device", "seat")

    def __init__(self, population: Population, seat: int) -> None:
        self._population = population
        self._behaviour = behaviour_of(seat, population.plan.behaviours)
        self.seat = seat  # its number in the crowd
        self._woken = Event()
        self.device = Device(population, seat, self._woken.set, sends=self._behaviour in _SENDERS)
        self._resume_at = 0.0  # when it may connect again
        self._over = self._away = False  # whether it is to leave for good, or until `come_back`
        self._wanted = False  # whether the ledger has been told that it attends

    def live(self) -> None:
        """Be there, and come back as often as it takes, until `stop`, or until the relay says not to come back."""
        # On a greenlet of its own, which costs 8 KiB a user: Locust kills the one that calls this, and a user has its
        # sends answered and says goodbye all the same.
        living = gevent.spawn(self._live)
        try:
            living.get()
        finally:
            self.stop()

    def stop(self) -> None:
        """Leave in good order and do not come back. The connection may last a moment longer than `live`."""
        self._over = True
        self._go()

    @property
    def away_against_its_will(self) -> bool:
        """Whether it wants to be there and is not: what is due to it is still to come."""
        return self._wanted and not (self.device.listens and self.device.ending is None)

    def go_offline(self) -> None:
        """Leave, and wait for `come_back`."""
        self._away = True
        self._go()

    def come_back(self) -> None:
        """Connect again, and fetch what gathered."""
        self._away = False
        self._woken.set()

    def _go(self) -> None:
        """Leave of this user's own will: what does not come from now on is not lost."""
        if self._wanted:
            self._wanted = False
            self._population.ledger.leave(self.seat)
        self._woken.set()

    # The greenlet

    def _live(self) -> None:
        device, attempt = self.device, 0
        while self._wait_for_turn():
            began = time.monotonic()
            ending = self._hold_connection()
            now = time.monotonic()
            if device.listens and now - began >= STEADY_SECONDS:
                attempt = 0
            if device.leaving:
                continue  # it went as it meant to, and `_resume_at` says when it comes back
            if not comes_back(ending):
                # What it does not get from now on, it does not get by the relay: the ledger is not told that it left.
                self._over, self._wanted = True, False
            elif device.goaway_at < NEVER:
                self._resume_at = device.goaway_at  # also where it closed before: that time is what spreads its users
            else:
                self._resume_at = now + pause_after(ending, attempt, self._population.dice)
                attempt += 1

    def _wait_for_turn(self) -> bool:
        """Wait until it is time to connect. False: there is to be no more connection."""
        while not self._over and (self._away or self._resume_at > time.monotonic()):
            self._park(NEVER if self._away else self._resume_at)
        return not self._over

    def _hold_connection(self) -> Ending:
        """Connect, stay until it is time to go, and leave. Returns how the connection ended."""
        device = self.device
        # Who was only cut has attended all along: what came meanwhile is due to it. Nothing is due to who never reads.
        if not self._wanted and self._behaviour is not Behaviour.DEAF:
            self._population.ledger.attend(self.seat)
        self._wanted = True
        deadline = time.monotonic() + CONNECT_SECONDS
        device.connect(slow=self._behaviour is Behaviour.SLOW)
        while device.ending is None and not (device.listens or self._over or self._away):
            if not self._park(deadline):
                device.end(Ending("timeout"))
        if device.listens and device.connection is not None:
            self._stay(device.connection)
        return device.ending or self._leave()

    def _stay(self, connection: Connection) -> None:
        """Behave as this user does, until it is asked to go or wishes to."""
        device, population, leave_at = self.device, self._population, NEVER
        if self._behaviour is Behaviour.SLOW:
            gevent.spawn(self._read_slowly, connection)
        elif self._behaviour is Behaviour.DEAF:
            device.deaf = True
            connection.watch(HANGUP)
        elif self._behaviour is Behaviour.FLEETING:
            leave_at = time.monotonic() + self._draw(population.plan.stay_seconds)
        while device.ending is None and not (self._over or self._away) and device.goaway_at > (now := time.monotonic()):
            patience = NEVER if device.deaf else SILENT_HEARTBEATS * population.heartbeat_seconds
            # Nobody tells of a half-open connection. The relay pings, so silence is a sign.
            if connection.heard_at + patience < now:
                device.end(Ending("silence"))
            elif leave_at <= now:
                self._resume_at = now + self._draw(population.plan.stay_seconds * _AWAY_SHARE)
                self._go()
                return
            else:
                self._park(min(leave_at, device.goaway_at, connection.heard_at + patience))

    def _read_slowly(self, connection: Connection) -> None:
        connection.watch(0)
        while self.device.connection is connection and not self._population.settling:
            connection.read(SLOW_BYTES)
            gevent.sleep(SLOW_SECONDS)
        # At the end of a run, what has gathered would take longer through a small window than anybody waits.
        connection.widen()

    def _leave(self) -> Ending:
        """Leave in good order: have everything answered first, for as long as a relay may take for both."""
        device, deadline = self.device, time.monotonic() + LEAVE_SECONDS
        device.withdraw()
        # Who closed before the answers came would leave sends behind of which nobody knows whether they were kept.
        while device.ending is None and device.listens and device.unanswered and self._park(deadline):
            pass
        if device.ending is None:
            device.close()
        while device.ending is None:
            if not self._park(deadline):
                device.end(Ending("left"))
        return device.ending

    def _draw(self, mean: float) -> float:
        return min(self._population.dice.expovariate(1 / mean), _MOST_MEANS * mean)

    def _park(self, until: float) -> bool:
        """Sleep until woken, or that time. Whether it was woken."""
        # No greenlet runs between the look at what is waited for and this, so that no waking is lost.
        self._woken.clear()
        return bool(self._woken.wait(None if until == NEVER else max(0.0, until - time.monotonic())))


# When a user comes back after a connection has ended: docs/protocol.md, section 9.


def comes_back(ending: Ending) -> bool:
    """Whether the same client may connect again unchanged."""
    return not (ending.code.isdecimal() and int(ending.code) in _FOR_GOOD)


def pause_after(ending: Ending, attempt: int, dice: Random) -> float:
    """Return seconds: anything from zero to a bound that doubles with each attempt, or what the server asked for."""
    bound = min(MOST_SECONDS, FIRST_SECONDS * 2 ** min(attempt, _DOUBLINGS))
    return max(dice.uniform(0, bound), ending.retry_after_s)
