"""CPU and memory of processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from loadtest.watch.servers import Look, figures_of, look_at, usage_of

BUSY = "import sys; print(flush=True)\nwhile True: pass"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])"
HOLDING = "import sys; held = bytearray(64 << 20); print(flush=True); sys.stdin.read()"


class Watch:
    """Looks at processes again and again."""

    def __init__(self, pids: dict[str, int]) -> None:
        self.pids, self.before = pids, Look(0.0, {}, {})

    def sample(self) -> dict[str, float]:
        """What the figures are now."""
        now = look_at(self.pids, ())
        figures, self.before = figures_of(self.before, now), now
        return figures


@contextmanager
def running(program: str) -> Iterator[int]:
    """Run a program until it has printed a line; its process group ends with the block."""
    command = (sys.executable, "-c", program)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_busy_child_is_its_parents() -> None:
    """What a process started counts as its own, as Postgres' backends do."""
    with running(PARENT) as pid:
        before = usage_of(pid)
        processes = Watch({"busy": pid})
        assert "busy.cpu_percent" not in processes.sample(), "there is nothing to compare the first sample with"
        while (after := usage_of(pid)) is None or before is None or after.cpu_seconds < before.cpu_seconds + 0.1:
            pass
        assert processes.sample()["busy.cpu_percent"] > 0


def test_memory_is_what_is_held() -> None:
    """64 MiB that are written to are seen."""
    with running(HOLDING) as pid:
        assert Watch({"holding": pid}).sample()["holding.rss_mib"] > 64


def test_who_is_gone_is_left_out() -> None:
    """A process that has ended has no figures, and nobody is disturbed by that."""
    with running(HOLDING) as pid:
        pids = {"gone": pid, "me": os.getpid()}
        processes = Watch(pids)
        processes.sample()
    assert {key.partition(".")[0] for key in processes.sample()} == {"me"}


def test_a_process_that_was_started_again_begins_anew() -> None:
    """A name may get another process meanwhile; its CPU is not compared with that of the one before."""
    pids = {"node": os.getpid()}
    processes = Watch(pids)
    processes.sample()
    with running(HOLDING) as pid:
        pids["node"] = pid
        assert set(processes.sample()) == {"node.rss_mib"}


def test_nothing_to_watch_is_fine() -> None:
    """Where the system is elsewhere, a sample is empty."""
    watch = Watch({})
    assert watch.sample() == {}
    assert watch.sample() == {}
