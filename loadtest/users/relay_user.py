"""One user: a device, its connection, and how it treats that. `live` is a user's life, on a greenlet that sleeps."""

import time
from random import Random
from typing import Final

from gevent.event import Event

from loadtest.client.epoll import HANGUP, READ
from loadtest.client.protocol import Ending
from loadtest.ledger.clock import SECOND_NS
from loadtest.scenarios.plan import Behaviour
from loadtest.users.device import Device
from loadtest.users.population import SLOW_SECONDS, TICK_SECONDS, Population, behaviour_of
from varde_contract import frames as f
from varde_contract.close_codes import CloseCode

CONNECT_SECONDS: Final = 15.0  # from the first SYN until everything is joined; the relay itself gives a handshake ten
LEAVE_SECONDS: Final = 5.0  # to have everything answered and the connection closed in good order
SILENT_HEARTBEATS: Final = 2.0  # without a sign of life of the relay, until a client should come again
SLOW_BYTES: Final = 4_096  # what a slow reader reads at a time
FIRST_SECONDS: Final = 0.5
MOST_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 5.0
"""A connection that lived this long was a good one: the next try starts from a short pause again."""
_DOUBLINGS: Final = 16
_TICKET_EXPIRED: Final = str(int(CloseCode.TICKET_EXPIRED))  # a new ticket is all that the client lacks
_FOR_GOOD: Final = range(4_100, 4_200)
_AWAY_SHARE: Final = 1 / 6  # of the time that a fleeting user stays, on average, that it is away
_MOST_MEANS: Final = 5.0
_MS: Final = 1_000
_MOST_PAUSE_MS: Final = 600_000  # however long a relay asks for
_NEVER: Final = float("inf")
_SENDERS: Final = frozenset({Behaviour.STEADY, Behaviour.FLEETING})  # whose acks are read as they come


class RelayUser:
    """Somebody in a seat. All but `live` may be called from anywhere, and never waits."""

    __slots__ = (
        *("_again", "_attempt", "_away", "_behaviour", "_began", "_deadline", "_drained", "_ended", "_population"),
        *("_leave_at", "_leaving", "_listens", "_reads_later", "_resume_at", "_wanted"),
        *("_welcomed", "_woken", "device", "place", "seat"),
    )

    def __init__(self, population: Population, seat: int) -> None:
        self._population = population
        self._behaviour = behaviour_of(seat, population.plan.behaviours)
        self.seat = seat  # its number in the crowd
        self.device = Device(population, seat, self)
        self.place = -1  # among those who are ready; theirs to write
        self._woken = Event()
        self._attempt = 0
        self._began = self._resume_at = 0.0
        self._deadline = self._leave_at = _NEVER
        self._ended = self._away = self._wanted = self._again = self._drained = False
        self._welcomed = self._listens = self._leaving = self._reads_later = False

    def live(self) -> None:
        """Be there, and come back as often as it takes, until `stop`, or until the relay says not to come back."""
        try:
            while not self._ended:
                self._wait_for_turn()
                self._renew_if_due()
                self._connect()
                self._wait_for_end()
        finally:
            self.stop()

    def stop(self) -> None:
        """Leave in good order and do not come back. The connection may last a moment longer than `live`."""
        self._ended = True
        self._go()

    def go_offline(self) -> None:
        """Leave, and wait for `come_back`."""
        self._away = True
        self._go()

    def come_back(self) -> None:
        """Connect again, and fetch what gathered."""
        self._away = False
        self._woken.set()

    def send(self, intended_ns: int) -> bool:
        """Send a message that was due at that time of the run. False: not now, and nothing was recorded."""
        return self.place >= 0 and self.device.send(intended_ns)

    def cut(self, word: str) -> None:
        """End the connection without a word to the relay."""
        if self.device.connection is not None:
            self.ended(Ending(word))

    # What the population calls

    def look(self, now: float) -> None:
        """See to what has taken too long. Called about once a second while there is a connection."""
        if self.device.connection is None:
            return
        if now > self._deadline:
            self.cut("left" if self._leaving else "timeout")
        elif self._listens and self._behaviour is not Behaviour.DEAF:
            silent = now - self.device.connection.heard_at
            if silent > SILENT_HEARTBEATS * self._population.heartbeat_seconds:
                self.cut("silence")

    def read_a_little(self) -> None:
        """What a slow reader does from time to time."""
        self._reads_later = False
        if self.device.connection is None or not self._listens:
            return
        if self._population.settling:
            # With a small window, what has gathered would take longer than anybody waits.
            self.device.connection.widen()
        else:
            self.device.connection.read(SLOW_BYTES)
            self._read_later()

    # What its device calls

    def ended(self, ending: Ending) -> None:
        """The connection has ended: count it, and decide when there is to be another."""
        population = self._population
        population.present.discard(self)
        population.ready.remove(self)
        self.device.disconnect()
        if self._welcomed:
            population.connected -= 1
            population.ledger.closed(ending.code)
        elif not self._leaving:
            population.ledger.connect_failed(ending.code)
        if not self._leaving:
            self._plan_return(ending)
        self._welcomed = self._listens = self._leaving = self._drained = False
        self._woken.set()

    def _plan_return(self, ending: Ending) -> None:
        now = time.monotonic()
        if self._listens and now - self._began >= STEADY_SECONDS:
            self._attempt = 0
        renews = ending.code == _TICKET_EXPIRED and self._population.tickets.expire(self.seat)
        if not (renews or comes_back(ending)):
            self._ended, self._wanted = True, False  # what it does not get from now on, it does not get by the relay
        elif self._drained:
            self._resume_at = self._leave_at
        else:
            self._resume_at = now + pause_after(ending, self._attempt, self._population.dice)
            self._attempt += 1

    def welcomed(self, welcome: f.Welcome) -> None:
        """The relay knows the device."""
        population = self._population
        self._welcomed = True
        population.connected += 1
        population.heartbeat_seconds = max(1.0, welcome.heartbeat_ms / _MS)
        population.ledger.connected(round((time.monotonic() - self._began) * SECOND_NS), self._again)
        self._again = True

    def listening(self) -> None:
        """Everything is joined: from now on this user behaves as it does."""
        assert self.device.connection is not None
        self._listens = True
        if self._leaving:
            return
        self._deadline = _NEVER
        if self._behaviour is Behaviour.SLOW:
            self.device.connection.watch(0)
            self._read_later()
        elif self._behaviour is Behaviour.DEAF:
            self.device.deaf = True
            self.device.connection.watch(HANGUP)
        elif self._behaviour is Behaviour.FLEETING:
            self._leave_at = time.monotonic() + self._draw(self._population.plan.stay_seconds)
            self._woken.set()

    def try_ready(self) -> None:
        """Be asked to send from now on, if there is a conversation to write to."""
        if self._listens and not self._leaving and self._behaviour in _SENDERS and self.device.writable:
            self._population.ready.add(self)

    def asked_to_go(self, goaway: f.Goaway) -> None:
        """Leave within the time that the node spreads its peers over, and connect again then."""
        pause_ms = goaway.after_ms + self._population.dice.uniform(0, goaway.jitter_ms)
        self._leave_at = time.monotonic() + max(0.0, min(pause_ms, _MOST_PAUSE_MS)) / _MS
        self._drained = True
        self._woken.set()

    def answered(self) -> None:
        """Nothing is without an answer any more."""
        if self._leaving and self.device.connection is not None:
            self._say_goodbye()

    def _go(self) -> None:
        """Leave of this user's own will."""
        if self._wanted:
            self._wanted = False
            self._population.ledger.leave(self.seat)
        self._leave()
        self._woken.set()

    def _leave(self) -> None:
        if self.device.connection is None or self._leaving:
            return
        self._leaving = True
        self._deadline = time.monotonic() + LEAVE_SECONDS
        self._population.ready.remove(self)
        if not (self._listens and self.device.unanswered):
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        assert self.device.connection is not None
        self.device.confirm()
        if self._listens:
            self.device.connection.watch(READ)
        if not self.device.close():
            self.cut("left")

    def _depart(self) -> None:
        """It is time to go: where the node asked for it, to come back at once; otherwise for a while."""
        if self._drained:
            self._resume_at = 0.0
            self._leave()
        else:
            self._resume_at = time.monotonic() + self._draw(self._population.plan.stay_seconds * _AWAY_SHARE)
            self._go()

    def _draw(self, mean: float) -> float:
        return min(self._population.dice.expovariate(1 / mean), _MOST_MEANS * mean)

    def _read_later(self) -> None:
        if not self._reads_later and self.device.connection is not None:
            self._reads_later = True
            seconds = TICK_SECONDS if self._population.settling else SLOW_SECONDS
            self._population.call_later(seconds, self.read_a_little)

    # The greenlet

    def _wait_for_turn(self) -> None:
        while not self._ended and (self._away or self._resume_at > time.monotonic()):
            self._park(_NEVER if self._away else self._resume_at)

    def _renew_if_due(self) -> bool:
        """Fetch another ticket when it is time. The connection, if there is one, goes on meanwhile."""
        tickets = self._population.tickets
        if due := not self._ended and tickets.due_at(self.seat) <= time.monotonic():
            tickets.renew(self.seat)
        return due

    def _connect(self) -> None:
        if self._ended or self._away:
            return  # somebody stopped this user, or sent it away, while it waited
        population = self._population
        if not self._wanted and self._behaviour is not Behaviour.DEAF:
            population.ledger.attend(self.seat)
        self._wanted = True
        self._began = now = time.monotonic()
        self._deadline, self._leave_at = now + CONNECT_SECONDS, _NEVER
        population.present.add(self)
        self.device.connect(slow=self._behaviour is Behaviour.SLOW)

    def _wait_for_end(self) -> None:
        while self.device.connection is not None:
            if self._leaving:
                self._park(_NEVER)
            elif self._leave_at <= time.monotonic():
                self._depart()
            elif not self._renew_if_due():
                self._park(min(self._leave_at, self._population.tickets.due_at(self.seat)))

    def _park(self, until: float) -> None:
        """Sleep until woken, or that time."""
        self._woken.clear()
        self._woken.wait(None if until == _NEVER else max(0.0, until - time.monotonic()))


# When a user comes back after a connection has ended: docs/protocol.md, section 9.


def comes_back(ending: Ending) -> bool:
    """Whether the same client may connect again unchanged."""
    return not (ending.code.isdecimal() and int(ending.code) in _FOR_GOOD)


def pause_after(ending: Ending, attempt: int, dice: Random) -> float:
    """Return seconds: anything from zero to a bound that doubles with each attempt, or what the server asked for."""
    bound = min(MOST_SECONDS, FIRST_SECONDS * 2 ** min(attempt, _DOUBLINGS))
    return max(dice.uniform(0, bound), ending.retry_after_s)
