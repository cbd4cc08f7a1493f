"""A null server as a child process: started, asked what it uses, ended."""

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from loadtest.watch.processes import usage_of

_ROOT: Final = Path(__file__).parents[3]
_READY_SECONDS: Final = 60.0
_END_SECONDS: Final = 10.0


class NullServerFault(Exception):
    """The null server did not start."""


class NullServer(Struct, frozen=True):
    """One that listens. The crowd's file says where."""

    pid: int
    crowd: Path

    def cpu_seconds(self) -> float:
        """What it has used until now."""
        usage = usage_of(self.pid)
        return 0.0 if usage is None else usage.cpu_seconds


@contextmanager
def open_null_server(users: int, folder: Path) -> Iterator[NullServer]:
    """Run one for so many users; the file of their crowd is in `folder`. Raises NullServerFault."""
    crowd = folder / "null.crowd"
    command = (sys.executable, "-m", "loadtest.watch.null.server", "--users", str(users), "--crowd", str(crowd))
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own program
        try:
            _wait_ready(process)
            yield NullServer(process.pid, crowd)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_ready(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], _READY_SECONDS)
    line = process.stdout.readline() if ready else b""
    try:
        json.loads(line)
    except ValueError:
        raise NullServerFault("the null server did not say that it is ready") from None
