"""The simulation: it repeats itself, finds what is planted, shrinks what fails, and the product passes its seeds."""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

import pytest

from simulation.mutants import MUTANTS, Mutant
from simulation.options import Step, expand, schedule
from simulation.run import simulate, start_of_all
from simulation.shrink import shrink

HOURS: Final = 1.0
"""Virtual hours of a seed: five minutes of them without faults."""
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
