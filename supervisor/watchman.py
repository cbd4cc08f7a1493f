"""The watchman: a small process that outlives the supervisor for as long as it takes to stop what it left behind.

It is run as a file, alone (`python -I -S watchman.py`), so nothing but the standard library may be imported here.

The supervisor can be killed in a way that leaves it no time to stop its programs. A parent-death signal would not do:
the kernel clears it when Postgres changes its user, and it speaks of the thread that forked, not of the process. So the
watchman holds the other end of a pipe. Lines on standard input name the processes to watch:

    keep <pid> <stop signal> <patience in seconds> <tier>
    drop <pid>

The end of the input means that the supervisor is gone. What is still kept then gets its stop signal, the highest tier
first and all of one tier at once, and after its patience SIGKILL, with all of its process group. The lock on the data
folder, where there is one, is inherited, and so it is held until that is done.
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


class Kept(NamedTuple):
    """One process to stop. `pidfd` is -1 where there are none."""

    pid: int
    stop_signal: int
    patience: float
    tier: int
    pidfd: int


def main() -> None:
    """Follow the supervisor's lines to their end, then stop what is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    kept = follow()
    if kept:
        say(f"the supervisor is gone; stopping {len(kept)} of its programs")
    for _tier, members in groupby(sorted(kept.values(), key=attrgetter("tier"), reverse=True), attrgetter("tier")):
        stop(tuple(members))


def follow() -> dict[int, Kept]:
    """Read lines until the other end is closed, and return what was kept and not dropped, in order."""
    kept: dict[int, Kept] = {}
    for line in sys.stdin:
        match line.split():
            case ["keep", pid, number, patience, tier]:
                kept[int(pid)] = Kept(int(pid), int(number), float(patience), int(tier), open_pidfd(int(pid)))
            case ["drop", pid] if (gone := kept.pop(int(pid), None)) and gone.pidfd >= 0:
                os.close(gone.pidfd)
    return kept


def open_pidfd(pid: int) -> int:
    """Get a grip on the process itself, which a later process with the same number does not have."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


def stop(members: tuple[Kept, ...]) -> None:
    """Ask all of them, wait for each, kill."""
    living = [each for each in members if not is_gone(each, 0)]
    for each in living:
        send(each, each.stop_signal)
    asked = time.monotonic()
    for each in living:
        if not is_gone(each, max(0.0, asked + each.patience - time.monotonic())):
            say(f"process {each.pid} did not stop in {each.patience:g} s and is killed")
        # Also when it has gone: what it started may still be there.
        send(each, signal.SIGKILL)


def is_gone(each: Kept, patience: float) -> bool:
    """Wait up to `patience` seconds for the process to end, and say whether it has."""
    if each.pidfd >= 0:
        return bool(select.select([each.pidfd], [], [], patience)[0])
    end = time.monotonic() + patience
    while True:
        try:
            os.kill(each.pid, 0)
        except ProcessLookupError:
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(POLL)


def send(each: Kept, number: int) -> None:
    """Signal the process for a stop, its whole group for SIGKILL. Each program leads a group of its own."""
    try:
        (os.killpg if number == signal.SIGKILL else os.kill)(each.pid, number)
    except (ProcessLookupError, PermissionError):
        return


def say(text: str) -> None:
    """Tell whoever still reads."""
    try:
        sys.stderr.write(f"varde: {text}\n")
        sys.stderr.flush()
    except OSError:  # the terminal has gone with the supervisor
        return


if __name__ == "__main__":
    main()
