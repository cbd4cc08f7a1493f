"""The kernel's figures are those of the process and of everything it started."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.server import choose_cores, cpu_seconds, open_server, rss_kib, tree_of
from loadtest.client.websocket import ServerFault

GRANDCHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"

LISTENER = "import time; print('{\"port\": 7}', flush=True); time.sleep(60)"


def test_a_process_is_counted_with_all_it_started() -> None:
    """CPU and memory of a child and its child are found through the first one's id, and nothing when all are gone."""
    command = (sys.executable, "-c", GRANDCHILD)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        family = [each.pid for each in tree_of(process.pid)]
        assert len(family) == 2
        assert rss_kib(process.pid) > rss_kib(family[1]) > 0
        whole, part = map(cpu_seconds, family)
        assert whole > part > 0
        process.communicate(b"\n")
    assert (cpu_seconds(process.pid), rss_kib(process.pid)) == (0, 0)


def test_cores_are_two_or_none() -> None:
    """Server and generator have a core each that this process may use, and never the same one."""
    cores = choose_cores()
    if len(os.sched_getaffinity(0)) == 1:
        assert cores == (None, None)
    else:
        assert set(cores) <= os.sched_getaffinity(0)
        assert cores[0] != cores[1]


def test_a_server_runs_on_its_core_from_the_start(tmp_path: Path) -> None:
    """Every thread of it may run there and nowhere else; it is gone after the block."""
    core = min(os.sched_getaffinity(0))
    with open_server((sys.executable, "-c", LISTENER), core=core, log=tmp_path / "log") as server:
        assert server.port == 7
        assert os.sched_getaffinity(server.pid) == {core}
    assert not tree_of(server.pid)


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    """What a server wrote to stderr before it ended is what is reported, and nothing is left running."""
    command = (sys.executable, "-c", "raise SystemExit('no port is free')")
    with pytest.raises(ServerFault, match="no port is free"), open_server(command, core=None, log=tmp_path / "log"):
        pytest.fail("it started")
