"""Sweeps up the folder of a fresh stack when no time is left to do it.

The folder holds a database and the keys of people who exist for one run only.
"""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_PROGRAM: Final = """
import os, shutil, sys, time
folder, pids = sys.argv[1], sys.argv[2:]
for _ in range(300):  # half a minute: the watchman's own patience is shorter
    if not any(os.path.exists("/proc/" + pid) for pid in pids):
        break
    time.sleep(0.1)
shutil.rmtree(folder, ignore_errors=True)
"""


def sweep_later(folder: Path, pids: Iterable[int]) -> None:
    """Have the folder removed as soon as these processes have ended, by a process that outlives this one."""
    subprocess.Popen(  # noqa: S603 - our own program
        (sys.executable, "-I", "-S", "-c", _PROGRAM, str(folder), *map(str, pids)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
