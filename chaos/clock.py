"""The wall clock of one server program, which can be moved while it runs.

The programs read it by `time.time_ns` alone, and Python runs a module `sitecustomize` before they begin: this one adds
what lies in a file. What measures durations (CLOCK_MONOTONIC) stays, as when an operator or NTP sets a clock. Refused:
libfaketime, under which loops were up to 15 s late, and a setting of the programs, which somebody would use.
"""

import os
import struct
from pathlib import Path
from typing import Final

HOUR: Final = 3_600
_OFFSET: Final = struct.Struct("q")
_SITE: Final = """
import mmap, os, struct, time

with open(os.environ["CHAOS_CLOCK"], "rb") as file:
    offset = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
true_time, true_time_ns = time.time, time.time_ns
time.time = lambda: true_time() + struct.unpack("q", offset)[0]
time.time_ns = lambda: true_time_ns() + struct.unpack("q", offset)[0] * 1_000_000_000
"""


class Clock:
    """The clock of whoever is started with `environ`. `folder` is to be empty."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(_SITE)
        self._file = folder / "offset"
        self._file.touch()
        self.environ = {"CHAOS_CLOCK": str(self._file), "PYTHONPATH": str(folder)}
        self.step(0)

    def step(self, seconds: int) -> None:
        """Set it to so many seconds before or after the true time. It holds as soon as this returns."""
        with self._file.open("r+b") as file:
            os.pwrite(file.fileno(), _OFFSET.pack(seconds), 0)
