"""The simulation: it repeats itself, finds what is planted, shrinks what fails, and the product passes its seeds."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pytest

from simulation.coverage import UNREACHABLE
from simulation.mutants import MUTANTS, Mutant
from simulation.options import DEVICES, TRICKS, Step, expand, schedule
from simulation.run import NO_FAULTS, simulate, start_of_all
from simulation.shrink import shrink
from varde_contract.close_codes import CloseCode
from varde_contract.refusals import RefusalCode

HOURS: Final = 0.5
"""Virtual hours of a seed, five minutes of them without faults. Many seeds, whose options differ, find more than long
ones; `make simulate` takes an hour of each."""
QUICK: Final = ("ack-before-commit", "confirmed-before-stored", "stored-twice", "order-swapped", "backlog-skipped")
"""The mutants that the first seed finds at once; `python -m simulation --mutants` hunts all."""


@pytest.mark.parametrize("seed", range(1, 21))
def test_a_seed(seed: int) -> None:
    """Whatever fails, in whatever order: nothing acked is lost, shown twice, in another order or to somebody else."""
    report = simulate(seed, HOURS)
    told = "\n  ".join(report.violations)
    assert not report.violations, f"python -m simulation --seeds 1 --from {seed} --hours {HOURS}\n  {told}"
    assert report.counts["shown"] > 0


def test_a_seed_is_the_same_in_every_process() -> None:
    """The log of a run has the same hash again, here and in a process with another hash seed."""
    digest = simulate(3, 0.2).digest
    command = (sys.executable, "-m", "simulation", "--digests", "--seeds", "1", "--from", "3", "--hours", "0.2")
    environ = {**os.environ, "PYTHONHASHSEED": "1"}
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env=environ).stdout
    assert printed.split() == ["3", digest]


@pytest.mark.parametrize("mutant", [each for each in MUTANTS if each.name in QUICK], ids=lambda each: each.name)
def test_a_planted_bug_is_found(mutant: Mutant) -> None:
    """A simulation that finds nothing would have found this."""
    start_of_all()
    with mutant.planted():
        assert simulate(1, 1.0, eager=True).violations


def test_every_refusal_and_close_code_is_reached() -> None:
    """With all of Mallory's tricks and a few faults a run meets all there are, but for those it says it cannot."""
    options = replace(NO_FAULTS, nodes=3, few_places=True, short_queue=True)
    # That far apart, her requests come when the token with which she began has ended.
    tricks = [Step(165.0 * number, "mallory", trick, 30.0) for number, trick in enumerate(TRICKS, 1)]
    faults = [
        Step(1_500.0, "replay", "bob_phone"),
        Step(1_600.0, "mallory", "lurks", 60.0),
        *(Step(1_610.0, "node_drain", f"n{number}", 60.0) for number in range(3)),
        *(Step(1_900.0, "node_kill", node, 90.0) for node in ("n1", "n2")),  # of five devices three find a place
        *(Step(2_500.0 + number, "send_group", device) for number in range(9) for device in DEVICES),
        Step(2_500.0, "remove_member", "carol", 9.0),
        Step(2_600.0, "database_silent", "", 15.0),
        Step(2_601.0, "link_cut", "bob_phone"),
        *(Step(2_602.0, "send_group", device) for device in DEVICES),
        Step(2_800.0, "revoke", "bob_tablet", 9.0),
    ]
    report = simulate(1, options=options, steps=[*tricks, *faults])
    assert not report.violations
    assert sorted(set(RefusalCode) - report.refusals.keys()) == sorted(UNREACHABLE)
    assert not {code.label for code in CloseCode} - report.closes.keys()


def test_a_quiet_hour_wakes_seldom() -> None:
    """An hour in which nothing happens is nodes and clients that look again: five times a second, all in all."""
    report = simulate(1, options=replace(NO_FAULTS, nodes=2), steps=[])
    assert report.counts["jumps"] < 5 * 3_600


def test_a_failing_schedule_shrinks() -> None:
    """Of many steps only those stay without which it does not fail."""
    steps = [Step(float(number), "send") for number in range(50)]

    def fails(fewer: Sequence[Step]) -> bool:
        return {7.0, 31.0} <= {step.at for step in fewer}

    assert [step.at for step in shrink(steps, fails)] == [7.0, 31.0]


def test_seeds_differ_and_are_expanded_alike() -> None:
    """A seed always has the same options and steps, and another one has others."""
    assert expand(1) == expand(1)
    assert schedule(1, expand(1), 1.0) == schedule(1, expand(1), 1.0)
    assert len({str(expand(seed)) for seed in range(50)}) == 50
