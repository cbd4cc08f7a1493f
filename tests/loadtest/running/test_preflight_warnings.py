"""What is said of a machine before a run begins on it."""

from pathlib import Path

import msgspec

from loadtest.running.system import warn_beforehand
from loadtest.scenarios.plan import SCENARIOS, Options
from loadtest.watch.machine import Machine
from tests.loadtest.watch.machines import FINE

BUSY = msgspec.structs.replace(FINE, busy_percent=80.0)
POOR = msgspec.structs.replace(BUSY, open_files=(256, 256))


def warnings(scenario: str, machine: Machine, *, smoke: bool = False, remote: bool = False) -> str:
    """What is said before a run there."""
    said: list[str] = []
    options = Options(scenario=scenario, smoke=smoke, remote=remote, out=Path())
    warn_beforehand(options, SCENARIOS[scenario].plan(options), said.append, machine=machine)
    return "\n".join(said)


def test_a_run_is_warned_of() -> None:
    """What makes figures worse than they need be is said beforehand, and what to do about it."""
    said = warnings("steady", BUSY)
    assert "preflight: " in said
    assert "80 %" in said
    assert "do: " in said


def test_nothing_is_said_of_a_fine_machine() -> None:
    """Where nothing stands in the way there is nothing to read."""
    assert warnings("steady", FINE) == ""


def test_a_smoke_run_is_only_told_what_will_not_work() -> None:
    """Its limits are wide, so that a busy machine is no news; one that cannot hold its users is."""
    for said in (warnings("smoke", BUSY), warnings("steady", BUSY, smoke=True)):
        assert said == ""
    assert "open files" in warnings("smoke", POOR)


def test_machines_elsewhere_are_not_guessed_at() -> None:
    """Where workers are on other machines, this one's limits say nothing of theirs."""
    assert warnings("steady", POOR, remote=True) == ""
