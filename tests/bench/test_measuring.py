"""The kernel's figures are those of the process and of everything it started."""

import os
import subprocess
import sys

from bench.measuring import choose_cores, cpu_seconds, pin, processes_of, rss_kib

GRANDCHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"


def test_a_process_is_counted_with_all_it_started() -> None:
    """CPU and memory of a child and its child are found through the first one's id, and nothing when all are gone."""
    command = (sys.executable, "-c", GRANDCHILD)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        family = processes_of(process.pid)
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
        assert (cores.server, cores.generator) == (None, None)
    else:
        assert {cores.server, cores.generator} <= os.sched_getaffinity(0)
        assert cores.server != cores.generator


def test_a_pinned_process_runs_on_its_core() -> None:
    """Every thread of a pinned process may run there and nowhere else; None changes nothing."""
    core = min(os.sched_getaffinity(0))
    with subprocess.Popen((sys.executable, "-c", "input()"), stdin=subprocess.PIPE) as process:
        pin(process.pid, None)
        assert os.sched_getaffinity(process.pid) == os.sched_getaffinity(0)
        pin(process.pid, core)
        assert os.sched_getaffinity(process.pid) == {core}
        process.communicate(b"\n")
