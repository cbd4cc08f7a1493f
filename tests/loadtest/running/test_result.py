"""A result is put together from what was noted, and says where the generator was the limit."""

import pytest

from loadtest.exits import Verdict
from loadtest.gate import judge, read_slo
from loadtest.ledger.ledger import Ledger, PayloadCipher
from loadtest.ledger.reports import StageSums, Totals
from loadtest.ledger.run_time import RunClock
from loadtest.report.result import Result, WorkerFigures
from loadtest.running.result import RunRecord, StageRun, figures_of, gather
from loadtest.scenarios.plan import SCENARIOS, Options

SECOND = 1_000_000_000
PLAN = SCENARIOS["smoke"].plan(Options(users=10, rate=100, seconds=10))
JUDGED = len(PLAN.stages) - 1


def worker(cpu_max_percent: float = 20) -> WorkerFigures:
    """How a worker fared."""
    return WorkerFigures(
        name="worker-1", cpu_max_percent=cpu_max_percent, cpu_mean_percent=10, rss_mib=60, late_max_ms=1
    )


def record(offered: int = 1_000, late: int = 0, **fields: object) -> RunRecord:
    """A run in which nothing was measured, and everything offered unless said otherwise."""
    stages = [
        StageRun(index=index, began_ns=index * 10 * SECOND, ended_ns=(index + 1) * 10 * SECOND, connected=10)
        for index in range(len(PLAN.stages))
    ]
    stages[JUDGED].offered = offered
    stages[JUDGED].late = late
    ledger = Ledger(RunClock(), PayloadCipher(bytes(32)))
    made = RunRecord(began_ns=0, ended_ns=30 * SECOND, stages=stages, ledgers=[ledger.report()], workers=[worker()])
    made.expected_workers = 1
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def judged(made: RunRecord) -> Result:
    """What the gate says of it."""
    return judge(gather(PLAN, made, ()), read_slo())


def test_a_run_within_its_limits_is_not_invalid() -> None:
    """Otherwise every other test here would prove nothing: this one has only missed, as nothing was measured."""
    assert judged(record()).verdict is Verdict.MISSED


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (record(workers=[worker(91.0)]), "worker-1 used 91 %"),
        (record(offered=800), "only 800 of 1,000 sends were offered"),
        (record(late=21), "2.1 % of the sends were more than 100 ms late"),
        (record(uncertainty_ns=1_500_000), "1.50 ms uncertain"),
        (record(missing_workers=1), "went missing"),
        (record(interrupted=True), "interrupted"),
        (record(ledgers=[b"nonsense"]), "the ledgers do not fit"),
    ],
)
def test_where_the_generator_was_the_limit_nothing_was_learned(made: RunRecord, words: str) -> None:
    """A saturated, late, missing or uncertain generator makes a run INVALID, in words."""
    result = judged(made)
    assert result.verdict is Verdict.INVALID
    assert words in "; ".join(result.reasons)


def test_random_arrivals_may_be_a_few_fewer() -> None:
    """A hundred a second at random are not a thousand in ten seconds, and nobody is to blame."""
    assert judged(record(offered=930)).verdict is not Verdict.INVALID


def test_a_hiccup_is_no_reason() -> None:
    """One sluggish moment of a small run, or one in a hundred of a large one, is in the figures and no more."""
    assert judged(record(late=20)).verdict is not Verdict.INVALID
    assert judged(record(offered=10_000, late=100)).verdict is not Verdict.INVALID
    assert judged(record(late=20)).generator.late_percent == 2


def test_where_everybody_connects_again_sends_may_be_late() -> None:
    """A worker that is full of handshakes because a node was killed has not been asked for too much."""
    plan = SCENARIOS["reconnect-storm"].plan(Options(users=10, rate=100, seconds=10))
    storm = next(index for index, stage in enumerate(plan.stages) if stage.action is not None)
    assert plan.stages[storm].judged
    held = StageRun(index=storm, began_ns=0, ended_ns=10 * SECOND, connected=10)
    held.offered, held.late = 1_000, 500
    made = record(stages=[held])
    assert gather(plan, made, ()).generator.late_percent == 0
    assert judge(gather(plan, made, ()), read_slo()).verdict is not Verdict.INVALID


def test_a_run_that_could_not_begin_says_why() -> None:
    """Its result has nothing in it but the reason."""
    result = judged(RunRecord(failure="nobody answers"))
    assert result.verdict is Verdict.FAILED
    assert result.reasons == ["nobody answers"]


def test_a_rate_so_far_is_that_of_the_seconds_that_were_told_of() -> None:
    """Workers speak at whole seconds: what they told of a stage was done up to the last one."""
    held = StageRun(index=JUDGED, began_ns=10 * SECOND + SECOND // 4, ended_ns=13 * SECOND + SECOND // 8)
    assert held.told_seconds == 2.75
    held.ended_ns = 13 * SECOND - 1
    told = Totals(stages={JUDGED: StageSums(acked_within=175)})
    figures = figures_of(PLAN, held, 0, told, held.told_seconds)
    assert (figures.seconds, figures.messages_per_second, figures.target_per_second) == (1.75, 100, 100)


def test_the_target_is_what_fell_due() -> None:
    """With random arrivals the rate that was achieved is held against what was asked for in fact."""
    result = gather(PLAN, record(offered=930), ())
    assert result.rate.target_per_second == pytest.approx(93)
    assert result.users.connected == 10
