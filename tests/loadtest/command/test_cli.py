"""How commands end: an exit code, and on standard error what its caller can understand."""

from collections.abc import Iterator
from typing import Any

import click
import pytest

from loadtest.command.cli import loadtest, main
from loadtest.exits import CouldNotRun


@pytest.fixture(params=["returns", "cannot", "is stopped", "is aborted", "exits", "breaks"])
def ending(request: pytest.FixtureRequest) -> Iterator[str]:
    """The group has one more command, which ends in this way."""
    raised: dict[str, Any] = {
        "cannot": CouldNotRun("no relay", "Start one."),
        "is stopped": KeyboardInterrupt(),
        "is aborted": click.Abort(),
        "exits": SystemExit(2),
        "breaks": ZeroDivisionError("a bug"),
    }

    @click.command()
    def ending() -> int:
        if request.param in raised:
            raise raised[request.param]
        return 1

    loadtest.add_command(ending)
    yield request.param
    del loadtest.commands["ending"]


def test_every_command_ends_with_its_code(ending: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What a command returns is its code; what it raises is one of the promised ones, and said as far as it helps."""
    codes = {"returns": 1, "cannot": 3, "is stopped": 130, "is aborted": 130, "exits": 2, "breaks": 3}
    assert main(["ending"]) == codes[ending]
    said = capsys.readouterr().err
    assert ("loadtest: no relay" in said and "Start one." in said) == (ending == "cannot")
    assert ("Traceback" in said) == (ending == "breaks")


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Every command is listed, with the exit codes below."""
    assert main([]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in loadtest.commands)
    assert "Exit codes" in said
