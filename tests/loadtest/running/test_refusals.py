"""What cannot be run is said at once, in words, with exit code 3."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loadtest.running.crowds import crowd_file

RUN = (sys.executable, "-m", "loadtest", "run", "smoke", "--users", "10", "--rate", "5", "--seconds", "2")


def call(*command: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "stampede"), "there is no scenario 'stampede'"),
        (("run", "smoke", "--users", "none"), "--users"),
        (("run", "smoke", "--users", "1"), "users must be 2 or more"),
        (("run", "idle", "--rate", "5"), "a rate has no meaning here"),
        (("run", "smoke", "--rate", "-1"), "--rate"),
        (("run", "smoke", "--crowd", "nowhere"), "nowhere cannot be read"),
        (("run", "smoke", "--slo", "nowhere.toml"), "nowhere.toml cannot be read"),
        (("run",), "Missing argument 'SCENARIO'"),
        (("worker", "--master", "here"), "must be HOST:PORT"),
        (("stampede",), "No such command 'stampede'"),
    ],
)
def test_bad_options_are_refused_in_words(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    """A wrong word is exit code 3, never the 2 of a run that taught nothing, and never a traceback."""
    out = ("--out", str(tmp_path)) if arguments[:1] == ("run",) and len(arguments) > 1 else ()
    ended = call(sys.executable, "-m", "loadtest", *arguments, *out)
    assert ended.returncode == 3
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def refuse(crowd: Path, out: Path, *more: str) -> str:
    """Run with a crowd that cannot be used. Returns what it said; there is a result of it."""
    ended = call(*RUN, "--crowd", str(crowd), "--out", str(out), *more)
    assert ended.returncode == 3, ended.stderr
    assert '"verdict": "failed"' in (out / "result.json").read_text()
    return ended.stderr


def test_an_unreachable_target_is_said(tmp_path: Path) -> None:
    """When nobody listens where the crowd's relay should be, it says so before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "nobody answers at the relay" in refuse(crowd_file(tmp_path / "crowd", port=port), tmp_path / "out")


@pytest.mark.parametrize(("left", "words"), [(-7_300, "expired 2.03 h ago"), (60, "before the run would be over")])
def test_expired_tickets_are_said(tmp_path: Path, left: float, words: str) -> None:
    """Tickets that have ended, or will in the midst of the run, are refused with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        crowd = crowd_file(tmp_path / "crowd", port=listener.getsockname()[1], expires_in_s=left)
        said = refuse(crowd, tmp_path / "out")
    assert words in said
    assert "loadtest seed" in said


def test_a_crowd_that_is_too_small_is_said(tmp_path: Path) -> None:
    """Ten users cannot be played by four."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        crowd = crowd_file(tmp_path / "crowd", port=listener.getsockname()[1], seats=4)
        assert "has 4 people; the plan needs 10" in refuse(crowd, tmp_path / "out")


def test_nobody_elses_node_is_killed(tmp_path: Path) -> None:
    """A scenario that kills nodes needs a hook for a system that is not ours."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        crowd = crowd_file(tmp_path / "crowd", port=listener.getsockname()[1])
        command = (
            sys.executable,
            "-m",
            "loadtest",
            "run",
            "reconnect-storm",
            "--smoke",
            "--users",
            "10",
            "--rate",
            "1",
        )
        ended = call(*command, "--crowd", str(crowd), "--out", str(tmp_path / "out"))
    assert ended.returncode == 3
    assert "--hook" in ended.stderr


def test_help_is_quick_and_whole() -> None:
    """Each command of ours explains itself without locust, which would take a second and patch the process."""
    program = (
        "import sys; from loadtest.command.cli import main; "
        "codes = [main([name, '--help']) for name in ('run', 'ui', 'worker', 'master')]; "
        "assert codes == [0] * 4 and 'locust' not in sys.modules"
    )
    ended = call(sys.executable, "-c", program)
    assert ended.returncode == 0, ended.stderr
    assert "--clock-budget" in ended.stdout


def test_a_worker_knows_no_server_and_no_trio() -> None:
    """Nothing that a worker process imports brings in Trio, or a room of the servers."""
    program = (
        "import sys, loadtest.running.worker, loadtest.rest.api_users; "
        "rooms = {'trio', 'domain', 'storage', 'relay', 'api', 'varde'}; "
        "found = {name.split('.')[0] for name in sys.modules} & rooms; "
        "assert not found, found"
    )
    ended = call(sys.executable, "-c", program)
    assert ended.returncode == 0, ended.stderr
