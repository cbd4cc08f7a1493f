"""Clocks of other hosts are followed while a run lasts, and the worst of it decides.

The other host is a clock that is ahead, and by more each time it is looked at.
"""

import time
from types import SimpleNamespace
from typing import Any

import gevent
import msgspec
import pytest

from loadtest.exits import Verdict
from loadtest.gate import judge, read_slo
from loadtest.ledger.reports import Totals, write
from loadtest.ledger.run_time import EVERY_SECONDS, PING_SECONDS, RunClock, follow_clock
from loadtest.running.messages import Heartbeat
from loadtest.running.result import RunRecord, gather
from loadtest.running.workers import Workers
from loadtest.scenarios.plan import SCENARIOS, Options

MS = 1_000_000
AHEAD_NS = 7_000 * MS


class Drifting:
    """A leader whose clock is ahead, and by `drift_ns` more after each long pause."""

    def __init__(self, drift_ns: int, looks: int) -> None:
        self.ahead_ns, self.drift_ns, self.looks = AHEAD_NS, drift_ns, looks
        self.pauses: list[float] = []

    def ping(self) -> int:
        """What time it is there."""
        return time.monotonic_ns() + self.ahead_ns

    def pause(self, seconds: float) -> None:
        """Let its clock go on, and end the run after some looks."""
        self.pauses.append(seconds)
        if seconds == EVERY_SECONDS:
            if self.pauses.count(EVERY_SECONDS) > self.looks:
                raise gevent.GreenletExit
            self.ahead_ns += self.drift_ns


def follow(leader: Drifting, clock: RunClock) -> None:
    """Keep the time until the leader has had enough."""
    with pytest.raises(gevent.GreenletExit):
        follow_clock(clock, leader.ping, leader.pause)


def test_drift_is_followed_and_reported_at_its_worst() -> None:
    """Every half minute the clock is measured again; what it had drifted by was an error until then."""
    leader, clock = Drifting(3 * MS, looks=2), RunClock(AHEAD_NS, 50_000)
    follow(leader, clock)
    assert clock.offset_ns == pytest.approx(AHEAD_NS + 6 * MS, abs=clock.uncertainty_ns)
    assert clock.offset_ns > AHEAD_NS + 3 * MS
    assert clock.uncertainty_ns >= 3 * MS


def test_questions_are_spread() -> None:
    """Not all questions of a measurement fall into one busy moment."""
    leader = Drifting(0, looks=1)
    follow(leader, RunClock(AHEAD_NS, 50_000))
    assert len([pause for pause in leader.pauses if 0 < pause < EVERY_SECONDS]) >= 8


def test_the_leaders_own_clock_is_not_followed() -> None:
    """On the leader's host there is nothing to measure, and nothing uncertain."""
    leader, clock = Drifting(3 * MS, looks=1), RunClock()
    follow_clock(clock, leader.ping, leader.pause)
    assert (leader.pauses, clock.offset_ns, clock.uncertainty_ns) == ([], 0, 0)


def test_a_leader_who_does_not_answer_leaves_the_clock_uncertain() -> None:
    """Without an answer nobody knows how far the clocks are apart: as uncertain as the wait was long."""

    class Silent(Drifting):
        def ping(self) -> int:
            raise gevent.Timeout(PING_SECONDS)

    clock = RunClock(AHEAD_NS, 50_000)
    follow(Silent(0, looks=1), clock)
    assert clock.offset_ns == AHEAD_NS
    assert clock.uncertainty_ns == PING_SECONDS * 1_000 * MS


def heartbeat(worker: str, uncertainty_ns: int) -> Any:
    """What a worker says each second, of a clock like this."""
    said = Heartbeat(tick=write(Totals()), uncertainty_ns=uncertainty_ns)
    return SimpleNamespace(node_id=worker, data=msgspec.msgpack.encode(said))


def test_the_worst_clock_of_all_workers_decides() -> None:
    """One worker whose clock became too uncertain within the run leaves it without a verdict, whatever was measured."""
    there = [SimpleNamespace(id=name, state="ready") for name in ("a_1", "b_1")]
    runner: Any = SimpleNamespace(register_message=lambda *_: None, clients=SimpleNamespace(all=there))
    workers = Workers(runner, RunClock())
    for who in workers.begin_run():
        workers.states[who].uncertainty_ns = 200_000
    assert workers.uncertainty_ns == 200_000
    workers._on_heartbeat(heartbeat("a_1", 300_000))
    workers._on_heartbeat(heartbeat("b_1", 1_700_000))
    assert workers.uncertainty_ns == 1_700_000
    plan = SCENARIOS["smoke"].plan(Options())
    result = gather(plan, RunRecord(uncertainty_ns=workers.uncertainty_ns), (), clock_budget_ms=1.0)
    judged = judge(result, read_slo())
    assert judged.verdict is Verdict.INVALID
    assert "the clocks are 1.70 ms uncertain; the budget is 1 ms" in judged.reasons
    assert judged.generator.clock_uncertainty_ms == 1.7
