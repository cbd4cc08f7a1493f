"""What stands in the way of a run, on machines that lack one thing each."""

from typing import Any

import msgspec
import pytest

from loadtest.watch.machine import Check, Grade, check_machine
from tests.loadtest.watch.machines import FINE


def looked(**changes: Any) -> dict[str, Check]:
    """What is said of a machine that differs so from a fine one, of 10,000 users in two workers."""
    checks = check_machine(10_000, 2, machine=msgspec.structs.replace(FINE, **changes))
    return {check.name: check for check in checks}


def test_a_fine_machine_needs_nothing() -> None:
    """Where everything is there, nothing is to be done."""
    assert {check.grade for check in looked().values()} == {Grade.GOOD}
    assert not any(check.advice for check in looked().values())


@pytest.mark.parametrize(
    ("changes", "name", "grade", "advice"),
    [
        ({"open_files": (1_024, 20_000)}, "open files", Grade.FAULT, "ulimit -n 20000"),
        ({"open_files": (4_096, 4_096)}, "open files", Grade.FAULT, "hard limit"),
        ({"source_addresses": False}, "ports", Grade.WARNING, "loopback"),
        ({"source_addresses": False, "ports": 5_000}, "ports", Grade.FAULT, "spread"),
        ({"clock": "hpet"}, "clock", Grade.WARNING, "tsc"),
        ({"governor": "powersave"}, "frequency", Grade.WARNING, "performance"),
        ({"cores": 1}, "cores", Grade.WARNING, "two cores"),
        ({"busy_percent": 60.0}, "load", Grade.WARNING, "top"),
        ({"steal_percent": 5.0}, "steal", Grade.WARNING, "neighbours"),
        ({"available_kib": 1 << 20}, "memory", Grade.FAULT, "fewer users"),
        ({"somaxconn": 128}, "backlog", Grade.WARNING, "sysctl"),
        ({"tracked": 16_384}, "connection tracking", Grade.WARNING, "nf_conntrack_max"),
    ],
)
def test_each_lack_is_named_with_what_to_do(changes: dict[str, Any], name: str, grade: Grade, advice: str) -> None:
    """One thing that is missing is found, graded, and comes with its remedy; the others stay as they were."""
    checks = looked(**changes)
    assert [check.name for check in checks.values() if check.grade is not Grade.GOOD] == [name]
    assert checks[name].grade is grade
    assert advice in checks[name].advice


def test_more_workers_than_cores_are_too_many() -> None:
    """Generators that wait for each other measure themselves."""
    checks = {check.name: check for check in check_machine(100, 8, machine=FINE)}
    assert "--workers 2" in checks["cores"].advice


def test_this_machine_can_be_looked_at() -> None:
    """The real readings give an answer to each question."""
    assert [check.name for check in check_machine(10, 1)] == list(looked())
