"""`calibrate` measures the real generator against a node without a database."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from loadtest.command.cli import main
from loadtest.command.runs import words_of
from loadtest.watch.calibration import Calibration, Step
from tests.house import tree


def test_the_generator_is_calibrated(tmp_path: Path) -> None:
    """Everybody gets in, each rate is a step that was really offered and done, and the file holds what was said."""
    command = (sys.executable, "-m", "loadtest", "calibrate", "--users", "40", "--seconds", "0.5", "--out", tmp_path)
    said = subprocess.run(command, cwd=tree.ROOT, check=True, capture_output=True, text=True, timeout=100).stdout
    found = msgspec.json.decode((tmp_path / "calibration.json").read_bytes(), type=Calibration)
    assert words_of(found) in said
    assert found.users == 40
    assert found.connect_cpu_us > 0
    assert found.steps[0].offered_per_second == 500
    assert found.steps[0].done_per_second > 0
    assert not list(tmp_path.glob("*.crowd")), "keys and tickets were left behind"


def test_a_machine_that_is_too_busy_is_told_so() -> None:
    """Without a single rate that went well there is no figure, and that is said."""
    found = Calibration(
        users=10,
        connects_per_second=1.0,
        connect_cpu_us=1.0,
        idle_cpu_percent=1.0,
        kib_per_user=1.0,
        message_cpu_us=None,
        messages_per_second=None,
        steps=[Step(500.0, 1.0, 99.0, 1.0, 5.0)],
        environment={},
    )
    assert "not even the first rate" in words_of(found)


def test_one_user_is_nobody_to_talk_to(capsys: pytest.CaptureFixture[str]) -> None:
    """A crowd of one cannot be calibrated with: exit code 3."""
    assert main(["calibrate", "--users", "1"]) == 3
    assert "--users" in capsys.readouterr().err
