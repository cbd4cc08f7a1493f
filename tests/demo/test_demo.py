"""The demo as a program: a short one told to its end, one that is interrupted, one whose promise is broken.

What its pieces do is in `test_finding.py`.
"""

import io
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from demo import run
from demo.promises import BrokenPromise, Transcript
from demo.run import CHAPTERS, run_demo
from tests.supervisor.real_system import environ

pytestmark = [pytest.mark.xdist_group("real-system"), pytest.mark.timeout(300)]

TIMEOUT = 280
"""Seconds. Alone on the machine it takes twenty; beside others it was cut off at 110."""


def command(*words: str) -> tuple[str, ...]:
    """The demo's command line."""
    return sys.executable, "-m", "varde_cli", "demo", *words


def test_every_promise_is_kept(tmp_path: Path) -> None:
    """The whole story with a small storm: every chapter keeps its promises, and the report says the same."""
    report = tmp_path / "build" / "demo.json"
    done = subprocess.run(
        command("--messages", "200", "--report", str(report)),
        capture_output=True,
        text=True,
        env=environ(),
        check=False,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (kept,) = re.findall(r"^demo: (\d+) promises kept", done.stdout, re.MULTILINE)
    found = json.loads(report.read_text())
    assert found["kept"] == int(kept) == done.stdout.count("✓")
    assert found["broken"] == 0
    assert {each["chapter"] for each in found["promises"]} == {"The house is built", *CHAPTERS}


def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    """Ctrl-C ends it with 130: its programs have stopped, its folder is gone."""
    folder = tmp_path / "t"
    folder.mkdir()
    with subprocess.Popen(
        command("--report", str(tmp_path / "demo.json")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ(TMPDIR=str(folder)),
    ) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        while "✓ Postgres, relay and API run" not in demo.stdout.readline():
            assert demo.poll() is None
        demo.send_signal(signal.SIGINT)
        demo.stdout.read()
        assert demo.wait(TIMEOUT) == 130
        assert "Traceback" not in demo.stderr.read()
    assert list(folder.iterdir()) == []


async def test_a_broken_promise_ends_the_demo_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who runs it in a pipeline is stopped: exit code 1, and the report says what was expected and seen."""

    async def break_a_promise(transcript: Transcript, _folder: Path, **_options: object) -> None:
        async with transcript.promise("one"):
            pass
        async with transcript.promise("two"):
            raise BrokenPromise("heads", "tails")

    monkeypatch.setattr(run, "_run_chapters", break_a_promise)
    out = io.StringIO()
    transcript = Transcript(out, colour=False, progress_bar=False)
    assert await run_demo(transcript, tmp_path / "demo.json", message_count=100, keep=None, log=None) == 1
    assert "demo: 1 promises kept, 1 broken" in out.getvalue()
    report = json.loads((tmp_path / "demo.json").read_text())
    assert report["promises"][1]["broken"] == ["heads", "tails"]
