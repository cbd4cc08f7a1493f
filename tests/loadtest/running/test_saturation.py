"""A generator that is asked for more than it can make says so itself."""

import subprocess
import sys
from pathlib import Path

from loadtest.exits import Verdict
from loadtest.report.result import read_result
from loadtest.watch.calibration import open_node

USERS = 50
RATE = 20_000
"""Far more than one process makes: each message is sealed, sent, answered, received and opened in it."""


def test_a_saturated_generator_yields_invalid(tmp_path: Path) -> None:
    """A worker that cannot keep its schedule makes the run INVALID, whatever it measured and whatever CPU it got."""
    with open_node(USERS, tmp_path) as (_, crowd):
        command = (sys.executable, "-m", "loadtest", "run", "smoke", "--workers", "1", "--crowd", str(crowd))
        amounts = ("--users", str(USERS), "--rate", str(RATE), "--seconds", "0.3", "--out", str(tmp_path / "out"))
        ended = subprocess.run((*command, *amounts), check=False, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 2, ended.stderr
    result = read_result(tmp_path / "out")
    assert result.verdict is Verdict.INVALID
    assert result.generator.late_percent > 1
    assert "% of the sends were more than 100 ms late" in "; ".join(result.reasons)
    assert "more than 100 ms late" in ended.stderr
