"""Short runs against real processes: Postgres, API, relay, master, workers."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from loadtest.crowd.crowd import Order, run_seeding
from loadtest.exits import Verdict
from loadtest.report.result import Result, read_result
from loadtest.stack.process import runs, wait_for
from loadtest.stack.stack import open_stack
from supervisor.ports import free_port
from tests.system import SCRATCH

pytestmark = pytest.mark.xdist_group("load-runs")  # they share one stack
USERS = 12
RUN = (sys.executable, "-m", "loadtest", "run", "smoke", "--users", str(USERS), "--rate", "20", "--seconds", "2")
OUTPUTS = {"result.json", "report.html", "report.png", "series.csv", "latency.hdr", "junit.xml"}


@pytest.fixture(scope="module")
def crowd() -> Iterator[Path]:
    """People of a system that runs as long as the tests of this file."""
    with tempfile.TemporaryDirectory(prefix="varde-", dir=SCRATCH) as name:
        folder = Path(name)
        folder.chmod(0o711)
        with open_stack(folder) as stack:
            order = Order(
                seats=USERS,
                relay_url=stack.relay_url,
                api_url=stack.api_url,
                database_url=stack.database_url,
                keys=str(stack.keys),
                out=str(folder / "crowd"),
            )
            run_seeding(order)
            yield folder / "crowd"


KEYS = (
    *("verdict", "scenario", "users.connected", "rate.achieved_per_second", "generator.cpu_max_percent"),
    *(f"latency_ms.send_to_receive.{figure}" for figure in ("p50", "p95", "p99", "p999", "max")),
    *(f"messages.{fate}" for fate in ("sent", "acked", "received", "lost", "duplicated", "disordered")),
)
"""Of `result.json`, those that other programs rely on."""


def has(written: Any, key: str) -> bool:
    """Whether there is a word or a number at a dotted key."""
    for part in key.split("."):
        written = written[part]
    return isinstance(written, str | int | float)


def is_whole(result: Result) -> bool:
    """Whether every message is accounted for, and there were some."""
    messages = result.messages
    wrong = messages.lost + messages.duplicated + messages.disordered + messages.undecryptable + messages.unacked
    return wrong == 0 < messages.sent == messages.acked == messages.received == messages.due


def test_a_run_against_a_running_system(crowd: Path, tmp_path: Path) -> None:
    """Users connect, write and read through two workers; every message is accounted for; each output is there."""
    ended = subprocess.run(
        (*RUN, "--crowd", str(crowd), "--out", str(tmp_path)), check=False, capture_output=True, text=True, timeout=100
    )
    result = read_result(tmp_path)
    assert ended.returncode in {0, 1}, ended.stderr  # on a busy machine a latency may be missed
    assert result.verdict in {Verdict.MET, Verdict.MISSED}
    assert result.users.connected == USERS
    assert is_whole(result), result.messages
    assert result.latency_ms.send_to_receive.count > 0
    assert [worker.name for worker in result.generator.workers] == ["worker-1", "worker-2"]
    assert {path.name for path in tmp_path.iterdir()} >= OUTPUTS
    written = json.loads((tmp_path / "result.json").read_bytes())
    assert [key for key in KEYS if not has(written, key)] == []
    assert f"users {USERS}/{USERS}" in ended.stderr
    assert str(tmp_path / "report.html") in ended.stderr


def start(crowd: Path, folder: Path) -> "subprocess.Popen[str]":
    """Start a run, and wait until its users have come and it is under way."""
    command = (*RUN, "--crowd", str(crowd), "--out", str(folder))
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while f"users {USERS}/{USERS}" not in (line := process.stderr.readline()):
        assert line, "it ended before anybody came"
    return process


def test_an_interrupted_run_leaves_what_it_has(crowd: Path, tmp_path: Path) -> None:
    """After Ctrl-C halfway all outputs are there, the verdict is INVALID, and no process is left."""
    with start(crowd, tmp_path) as process:
        family = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=100)
    assert process.returncode == 2, said
    result = read_result(tmp_path)
    assert result.interrupted
    assert "interrupted" in result.reasons
    assert result.users.connects == USERS
    assert {path.name for path in tmp_path.iterdir()} >= OUTPUTS
    assert family
    assert not any(map(runs, family))


def test_a_second_interruption_ends_at_once(crowd: Path, tmp_path: Path) -> None:
    """Whoever presses Ctrl-C again does not wait: no report, exit code 130, and no process is left."""
    with start(crowd, tmp_path) as process:
        family = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "once more: end at once" not in (line := process.stderr.readline()):
            assert line, "it ended before it settled"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=100)
    assert process.returncode == 130, said
    assert "ending at once" in said
    assert not (tmp_path / "result.json").exists()
    assert family
    assert wait_for(lambda: not any(map(runs, family)), 60)


def descendants(pid: int) -> list[int]:
    """All processes that one has started, and theirs."""
    return [each.pid for each in psutil.Process(pid).children(recursive=True)]


def is_worker(pid: int) -> bool:
    """Whether a process makes load."""
    return b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


def test_a_killed_worker_makes_a_run_invalid(crowd: Path, tmp_path: Path) -> None:
    """With a worker gone by SIGKILL nothing was learned, whatever the other one saw."""
    with start(crowd, tmp_path) as process:
        workers = [pid for pid in descendants(process.pid) if is_worker(pid)]
        os.kill(workers[0], signal.SIGKILL)
        _, said = process.communicate(timeout=100)
    assert process.returncode == 2, said
    result = read_result(tmp_path)
    assert result.verdict is Verdict.INVALID
    assert "1 of 2 workers went missing" in result.reasons
    assert result.generator.missing_workers == 1


def test_locusts_own_command_runs_it(crowd: Path, tmp_path: Path) -> None:
    """`locust -f loadtest/locustfile.py --headless` knows `-u` and `-t`, and its table has our figures."""
    command = (
        "-m",
        "locust",
        "-f",
        "loadtest/locustfile.py",
        "--headless",
        "-u",
        str(USERS),
        "-t",
        "2s",
        "--rate",
        "20",
    )
    more = ("--scenario", "smoke", "--crowd", str(crowd), "--out", str(tmp_path))
    ended = subprocess.run((sys.executable, *command, *more), check=False, capture_output=True, text=True, timeout=100)
    assert ended.returncode in {0, 1}, ended.stderr
    result = read_result(tmp_path)
    assert is_whole(result), result.messages
    assert "SEND     message, to ack" in ended.stdout + ended.stderr


def test_the_page_starts_as_many_runs_as_somebody_likes(crowd: Path, tmp_path: Path) -> None:
    """Over Locust's own page: START runs to a result, a second START runs again, and no field asks for nothing."""
    port = free_port()
    amounts = ("--users", str(USERS), "--rate", "20", "--seconds", "1", "--workers", "1", "--port", str(port))
    command = (sys.executable, "-m", "loadtest", "ui", "smoke", *amounts, "--crowd", str(crowd), "--out", str(tmp_path))
    page = f"http://127.0.0.1:{port}"
    numbers = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process, ExitStack() as ending:
        ending.callback(process.kill)
        assert process.stderr is not None
        assert "is ready" in process.stderr.readline()
        shown = httpx.get(page).text
        assert all(f"[name={field}]" in shown for field in ("userCount", "spawnRate", "host")), "they do nothing"
        for _ in range(2):
            assert httpx.post(f"{page}/swarm", data={"user_count": "0", "spawn_rate": "0"}).json()["success"]
            while f"{tmp_path}" not in (line := process.stderr.readline()):
                assert line, "it ended before the run did"
            result = read_result(tmp_path)
            assert result.verdict in {Verdict.MET, Verdict.MISSED}, result.reasons
            assert is_whole(result), result.messages
            numbers.append(result.started)
            assert str(tmp_path) in httpx.get(f"{page}/varde/state").text, "the line below Locust's page"
            assert result.started[11:19] in httpx.get(f"{page}/varde/report").text
            assert wait_for(lambda: httpx.get(f"{page}/stats/requests").json()["state"] == "stopped", 60)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=100)
    assert numbers[0] < numbers[1]
    assert process.returncode in {0, 1}
