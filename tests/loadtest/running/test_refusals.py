"""What cannot be run is said at once, in words, with exit code 3."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.loadtest.running.crowds import crowd_file

pytestmark = pytest.mark.xdist_group("refusals")  # they share one process, which has imported locust once
RUN = ("run", "smoke", "--users", "10", "--rate", "5", "--seconds", "2")
PROGRAM = """
import io, json, sys
from contextlib import redirect_stderr
from loadtest.command.cli import main
for line in sys.stdin:
    with redirect_stderr(io.StringIO()) as said:
        code = main(json.loads(line))
    print(json.dumps([code, said.getvalue()]), flush=True)
"""


class Ended(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    said: str


Call = Callable[..., Ended]


@pytest.fixture(scope="module")
def call() -> Iterator[Call]:
    """Runs commands to their ends."""
    with subprocess.Popen(
        (sys.executable, "-c", PROGRAM), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def call(*words: str) -> Ended:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{json.dumps(words)}\n")
            process.stdin.flush()
            return Ended(*json.loads(process.stdout.readline()))

        yield call
        process.stdin.close()


def run_python(program: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    command = (sys.executable, "-c", program)
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
def test_bad_options_are_refused_in_words(arguments: tuple[str, ...], words: str, tmp_path: Path, call: Call) -> None:
    """A wrong word is exit code 3, never the 2 of a run that taught nothing, and never a traceback."""
    out = ("--out", str(tmp_path)) if arguments[:1] == ("run",) and len(arguments) > 1 else ()
    ended = call(*arguments, *out)
    assert ended.code == 3
    assert words in ended.said
    assert "Traceback" not in ended.said


@pytest.fixture
def refuse(call: Call, tmp_path: Path) -> Callable[..., str]:
    """Runs with a crowd that cannot be used. Returns what was said; there is a result of it."""

    def refuse(*words: str, **crowd: float) -> str:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            file = crowd_file(tmp_path / "crowd", **{"port": listener.getsockname()[1], **crowd})
            ended = call(*(words or RUN), "--crowd", str(file), "--out", str(tmp_path / "out"))
        assert ended.code == 3, ended.said
        assert '"verdict": "failed"' in (tmp_path / "out" / "result.json").read_text()
        return ended.said

    return refuse


def test_an_unreachable_target_is_said(refuse: Callable[..., str]) -> None:
    """When nobody listens where the crowd's relay should be, it says so before anything is started."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and does not listen; let go, the port could be the one of Locust's master
        assert "nobody answers at the relay" in refuse(port=held.getsockname()[1])


@pytest.mark.parametrize(("left", "words"), [(-7_300, "expired 2.03 h ago"), (60, "before the run would be over")])
def test_expired_tickets_are_said(refuse: Callable[..., str], left: float, words: str) -> None:
    """Tickets that have ended, or will in the midst of the run, are refused with what to do."""
    said = refuse(expires_in_s=left)
    assert words in said
    assert "loadtest seed" in said


def test_a_crowd_that_is_too_small_is_said(refuse: Callable[..., str]) -> None:
    """Ten users cannot be played by four."""
    assert "has 4 people; the plan needs 10" in refuse(seats=4)


def test_nobody_elses_node_is_killed(refuse: Callable[..., str]) -> None:
    """A scenario that kills nodes needs a hook for a system that is not ours."""
    assert "--hook" in refuse("run", "reconnect-storm", "--smoke", "--users", "10", "--rate", "1")


def test_help_is_quick_and_whole() -> None:
    """Each command of ours explains itself without locust, which would take a second and patch the process."""
    program = (
        "import sys; from loadtest.command.cli import main; "
        "codes = [main([name, '--help']) for name in ('run', 'ui', 'worker', 'master')]; "
        "assert codes == [0] * 4 and 'locust' not in sys.modules"
    )
    ended = run_python(program)
    assert ended.returncode == 0, ended.stderr
    assert "--clock-budget" in ended.stdout


def test_a_worker_knows_no_server_and_no_trio() -> None:
    """Nothing that a worker process imports brings in Trio, or a room of the servers."""
    program = (
        "import sys, loadtest.running.worker, loadtest.rest.operations; "
        "rooms = {'trio', 'domain', 'storage', 'relay', 'api', 'varde'}; "
        "found = {name.split('.')[0] for name in sys.modules} & rooms; "
        "assert not found, found"
    )
    ended = run_python(program)
    assert ended.returncode == 0, ended.stderr
