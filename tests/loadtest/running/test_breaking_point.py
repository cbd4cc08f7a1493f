"""What a run comes to, from what was noted of it."""

from loadtest.gate import read_slo
from loadtest.report.result import Finding
from loadtest.running.result import RunRecord, StageRun, conclude
from loadtest.scenarios.plan import SCENARIOS, Options

SECOND = 1_000_000_000
RAMP = SCENARIOS["ramp"].plan(Options(users=10, rate=1_000, smoke=True))
FIRST = next(index for index, stage in enumerate(RAMP.stages) if stage.judged)


def found(last: int, broke: list[str], *, interrupted: bool = False) -> Finding:
    """The breaking point of a ramp that went as far as a stage. No ledger was handed in."""
    stages = [
        StageRun(index=index, began_ns=index * SECOND, ended_ns=(index + 1) * SECOND, connected=10)
        for index in range(last + 1)
    ]
    stages[-1].broke = broke
    record = RunRecord(stages=stages, began_ns=1, ended_ns=SECOND, interrupted=interrupted)
    (finding,) = conclude(RAMP, record, (), Options(scenario="ramp"), read_slo()).findings
    return finding


def test_what_ended_a_ramp_is_what_is_found() -> None:
    """The finding names the stage and the words with which the run ended."""
    finding = found(FIRST, ["latency gives way (so late)"])
    assert (
        finding.words == f"nothing held; at {round(RAMP.stages[FIRST].messages_per_second)} latency gives way (so late)"
    )
    assert finding.value == 0


def test_a_stage_that_was_cut_short_is_not_judged() -> None:
    """Of a ramp that somebody ended, the last stage says nothing."""
    assert found(FIRST, [], interrupted=True).words == "no stage of the ramp came to its end"
