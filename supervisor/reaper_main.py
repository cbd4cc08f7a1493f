"""The reaper: a small process that outlives a killed supervisor for as long as it takes to stop its programs.

It is run as a file, alone (`python -I -S reaper_main.py`), so nothing but the standard library may be imported here.

A supervisor that gets SIGKILL cannot stop its programs. A parent-death signal (PR_SET_PDEATHSIG) would not do: the
kernel clears it when Postgres changes its user, and sends it when the thread that forked ends, not the process. So the
reaper reads a pipe whose other end only the supervisor holds. Lines on standard input name the processes:

    register <pid> <stop signal> <timeout in seconds> <tier>
    unregister <pid>

The end of the input means that the supervisor is gone. What is still registered then gets its stop signal, the highest
tier first and all of one tier at once, and after its timeout SIGKILL, with all of its process group. The lock on the
data folder, where there is one, is inherited, and so it is held until that is done.
"""

import os
import select
import signal
import sys
import time
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

POLL = 0.05  # seconds; only where the kernel has no pidfd


class Watched(NamedTuple):
    """One process to stop. `pidfd` is -1 where there are none."""

    pid: int
    stop_signal: int
    timeout: float
    tier: int
    pidfd: int


def main() -> None:
    """Read registrations to their end, then stop what is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watched = read_registrations()
    if watched:
        write(f"the supervisor is gone; stopping {len(watched)} of its programs")
    for _tier, members in groupby(sorted(watched.values(), key=attrgetter("tier"), reverse=True), attrgetter("tier")):
        stop(tuple(members))


def read_registrations() -> dict[int, Watched]:
    """Read lines until the other end is closed; return what is registered then, in order."""
    watched: dict[int, Watched] = {}
    for line in sys.stdin:
        match line.split():
            case ["register", pid, number, timeout, tier]:
                watched[int(pid)] = Watched(int(pid), int(number), float(timeout), int(tier), open_pidfd(int(pid)))
            case ["unregister", pid] if (gone := watched.pop(int(pid), None)) and gone.pidfd >= 0:
                os.close(gone.pidfd)
    return watched


def open_pidfd(pid: int) -> int:
    """Open the process itself: its number may go to a later process."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


def stop(members: tuple[Watched, ...]) -> None:
    """Send each its stop signal, wait for all, kill what is left."""
    living = [each for each in members if not is_gone(each, 0)]
    for each in living:
        send(each, each.stop_signal)
    asked = time.monotonic()
    for each in living:
        if not is_gone(each, max(0.0, asked + each.timeout - time.monotonic())):
            write(f"process {each.pid} did not stop in {each.timeout:g} s and is killed")
        # Also when it has gone: what it started may still be there.
        send(each, signal.SIGKILL)


def is_gone(each: Watched, timeout: float) -> bool:
    """Wait up to `timeout` seconds for the process to end, and say whether it has."""
    if each.pidfd >= 0:
        return bool(select.select([each.pidfd], [], [], timeout)[0])
    end = time.monotonic() + timeout
    while True:
        try:
            os.kill(each.pid, 0)
        except ProcessLookupError:
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(POLL)


def send(each: Watched, number: int) -> None:
    """Signal the process for a stop, its whole group for SIGKILL. Each program leads a group of its own."""
    try:
        (os.killpg if number == signal.SIGKILL else os.kill)(each.pid, number)
    except (ProcessLookupError, PermissionError):
        return


def write(text: str) -> None:
    """Write to standard error, if anybody still reads it."""
    try:
        sys.stderr.write(f"varde: {text}\n")
        sys.stderr.flush()
    except OSError:  # the terminal has gone with the supervisor
        return


if __name__ == "__main__":
    main()
