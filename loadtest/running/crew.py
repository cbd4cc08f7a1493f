"""The users of one worker process, and who of them does something when.

Everything that belongs to a single run is in its `Shift`; a worker may live through several runs.
"""

import ssl
from collections import deque
from pathlib import Path
from typing import Any, Final, Protocol

import gevent

from loadtest.crowd.crowd import Crowd
from loadtest.ledger.clock import RunClock
from loadtest.ledger.ledger import Ledger
from loadtest.ledger.payload import PayloadCipher
from loadtest.ledger.schedule import Pacer
from loadtest.running.arrivals import Arrivals
from loadtest.running.posting import Prepare
from loadtest.scenarios.plan import Action, Kind, Stage
from loadtest.users.population import Population
from loadtest.users.relay_user import RelayUser

_GRAIN: Final = 1_000_000
"""Places of seats by which those who go away are chosen: the same ones in every run."""
_STRIDE: Final = 618_034
LATE_NS: Final = 100_000_000
"""A send that is taken up so long after it was due is a late one: the process did not get to run."""


class Member(Protocol):
    """What a seat is taken by: a user, or a caller of the API."""

    @property
    def seat(self) -> int:
        """Its number in the crowd."""

    def live(self) -> None:
        """Last as long as the user does."""

    def stop(self) -> None:
        """End that."""


class Crew:
    """Those at work in a run."""

    def __init__(self, crowd: Crowd, task: Prepare, clock: RunClock) -> None:
        self.plan = task.plan
        self.ledger = Ledger(clock, PayloadCipher(crowd.payload_key, task.run))
        tls = ssl.create_default_context(cadata=crowd.authority) if crowd.authority else None
        self.population = Population(
            crowd, task.plan, self.ledger, clock, worker=task.worker, workers=task.workers, tls=tls
        )
        seed = task.seed * task.workers + task.worker
        self.pacer = Pacer(clock, self._fire, seed=seed, even=task.even)
        self.stage = -1
        self.waiting: deque[int] = deque()
        self._share = task.workers
        self._arrivals = Arrivals()
        self._members: dict[int, Member] = {}
        self._began_ns = 0
        self.offered: dict[int, int] = {}
        """Sends that fell due, by stage."""
        self.late: dict[int, int] = {}
        """Of those, the ones that were taken up late, whatever the system did."""
        self._clock = clock
        self._callers = _open_callers(crowd, self.ledger, clock, task) if task.plan.kind is Kind.REST else None
        self._pacing = gevent.spawn(self.pacer.run)

    @property
    def users(self) -> int:
        """How many have sat down."""
        return len(self._members)

    def enter(self) -> Member:
        """Wait for a turn and take a seat. Raises NoSeat."""
        self._arrivals.wait_turn()
        seat = self.population.take_seat()
        member: Member = self._callers.open(seat) if self._callers is not None else RelayUser(self.population, seat)
        self._members[seat] = member
        return member

    def leave(self, member: Member) -> None:
        """Stop it, and give its seat back."""
        member.stop()
        if self._members.pop(member.seat, None) is not None:
            self.population.give_back(member.seat)

    def open_stage(self, index: int, began_ns: int) -> None:
        """From `began_ns` on, do what this stage asks of a worker."""
        stage = self.plan.stages[index]
        self.stage, self._began_ns = index, began_ns
        self.offered[index] = self.late[index] = 0
        self.ledger.open_stage(index, began_ns)
        self._arrivals.set_pace(stage.spawn_per_second / self._share)
        self.pacer.set_rate(_rate_of(stage) / self._share, began_ns)
        if stage.action in {Action.GO_OFFLINE, Action.COME_BACK}:
            self._move_those_away(stage.action)

    def rest(self, ended_ns: int) -> None:
        """Offer nothing more. What comes after `ended_ns` was not achieved within the last stage."""
        self.ledger.open_stage(len(self.plan.stages), ended_ns)
        self.pacer.set_rate(0)
        self.population.settling = True

    def aclose(self) -> None:
        """Stop everybody."""
        self._pacing.kill()
        for member in list(self._members.values()):
            self.leave(member)
        self.population.aclose()

    def catch_up(self) -> None:
        """Send what no user was ready for, as far as there is one now."""
        while self.waiting and self._send(self.waiting[0]):
            self.waiting.popleft()

    def _fire(self, intended_ns: int) -> None:
        # What fell due before the stage began, and is taken up only now, belongs to the one before.
        stage = self.stage if intended_ns >= self._began_ns else self.stage - 1
        self.offered[stage] += 1
        if self._clock.now_ns() - intended_ns > LATE_NS:
            self.late[stage] += 1
        if self._callers is not None:
            self._callers.fire(intended_ns)
            return
        self.waiting.append(intended_ns)
        self.catch_up()

    def _send(self, intended_ns: int) -> bool:
        user = self.population.ready.pick()
        return user is not None and user.send(intended_ns)

    def _move_those_away(self, action: Action) -> None:
        for seat, member in self._members.items():
            if isinstance(member, RelayUser) and seat * _STRIDE % _GRAIN < self.plan.away_share * _GRAIN:
                member.go_offline() if action is Action.GO_OFFLINE else member.come_back()


def _open_callers(crowd: Crowd, ledger: Ledger, clock: RunClock, task: Prepare) -> Any:
    from loadtest.rest.callers import Callers  # noqa: PLC0415 - users have no need of it

    return Callers(crowd, ledger, clock, Path(task.outbox) if task.outbox else None, seed=task.seed)


def _rate_of(stage: Stage) -> float:
    return stage.messages_per_second or stage.requests_per_second
