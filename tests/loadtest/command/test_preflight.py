"""`preflight` says what is in the way, and its exit code says whether."""

import pytest

from loadtest.command.cli import main
from loadtest.command.runs import line_of
from loadtest.watch.machine import Check, Grade


def test_a_small_run_will_work_here(capsys: pytest.CaptureFixture[str]) -> None:
    """Ten users are possible on whatever runs the tests."""
    assert main(["preflight", "--users", "10", "--workers", "1"]) == 0
    assert "open files" in capsys.readouterr().out


def test_an_impossible_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """More users than any machine has files: exit code 1, and what to do."""
    assert main(["preflight", "--users", "900000000"]) == 1
    said = capsys.readouterr().out
    assert "BAD" in said
    assert "do: " in said


def test_a_scenario_brings_its_users(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever names a scenario need not know how many users it has."""
    main(["preflight", "flood"])
    assert capsys.readouterr().out.startswith("2,000 users in 2 workers")


@pytest.mark.parametrize("bad", [["nowhere"], ["--users", "0"], ["--workers", "x"]])
def test_bad_options_could_not_run(bad: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be followed is named, with exit code 3."""
    assert main(["preflight", *bad]) == 3
    assert bad[-1] in capsys.readouterr().err


def test_what_is_good_needs_one_line() -> None:
    """Advice stands below what is wrong, and nowhere else."""
    assert line_of(Check("clock", Grade.GOOD, "it ticks")) == "  ok   clock: it ticks"
    assert line_of(Check("clock", Grade.FAULT, "it stands", "wind it")) == "  BAD  clock: it stands\n       do: wind it"
