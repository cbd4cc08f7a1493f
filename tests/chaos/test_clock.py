"""The clock of a program moves while it runs, and what measures durations does not."""

import os
import subprocess
import sys
from pathlib import Path

from chaos.clock import HOUR, Clock

# `datetime` asks the kernel by itself: it has the true time.
PROGRAM = """if True:
    import sys, time
    from datetime import UTC, datetime

    start = time.monotonic()
    for _ in sys.stdin:
        true = datetime.now(UTC).timestamp()
        times = time.time() - true, time.time_ns() / 1e9 - true, time.monotonic() - start
        print(*(round(each / 3_600) for each in times), flush=True)
"""


def test_a_clock_is_moved_while_its_program_runs(tmp_path: Path) -> None:
    """Forward, back, and to where it was; both ways to read it agree."""
    clock = Clock(tmp_path / "clock")
    with subprocess.Popen(
        (sys.executable, "-c", PROGRAM),
        env=os.environ | clock.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        for hours in (0, 1, -1, 0):
            clock.step(hours * HOUR)
            program.stdin.write("\n")
            program.stdin.flush()
            assert program.stdout.readline() == f"{hours} {hours} 0\n"
        program.stdin.close()
