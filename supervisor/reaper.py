"""The reaper: a process that stops the programs of a supervisor that was killed. Started, informed and restarted here.

Its program is `reaper_main.py`.
"""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from supervisor.programs import Program

_FILE: Final = Path(__file__).with_name("reaper_main.py")
_PAUSE: Final = 0.5  # seconds; a reaper that dies at once must not make this loop spin
_EXIT_TIMEOUT: Final = 10.0  # seconds


class Reaper:
    """The processes that are registered with the reaper. Another reaper, should the first one die, is told the same."""

    def __init__(self) -> None:
        self._registered: dict[int, str] = {}
        self._pipe = -1
        self.pid = 0

    def register(self, pid: int, program: Program) -> None:
        """Have this process stopped when the supervisor dies. It holds as soon as this returns."""
        self._registered[pid] = f"register {pid} {int(program.stop_signal)} {program.stop_timeout} {program.tier}\n"
        self._write(self._registered[pid])

    def unregister(self, pid: int) -> None:
        """The process has ended."""
        if self._registered.pop(pid, None) is not None:
            self._write(f"unregister {pid}\n")

    def _write(self, line: str) -> None:
        # Blocks only when 64 KiB are unread. What is written is read even if this process dies now: the kernel has it.
        try:
            os.write(self._pipe, line.encode())
        except BrokenPipeError:
            return  # the next reaper is told everything

    def use_pipe(self, pid: int, pipe: int) -> None:
        """Register everything with this reaper from now on."""
        self.pid, self._pipe = pid, pipe
        for line in self._registered.values():
            self._write(line)


@asynccontextmanager
async def open_reaper(*inherited: int) -> AsyncIterator[Reaper]:
    """Run a reaper while the block runs. It inherits these descriptors, so a lock is held until its work is done."""
    reaper = Reaper()
    async with trio.open_nursery() as nursery:
        # Shielded: what cancels us begins the stop of the programs, and the reaper watches until that is over.
        scope = trio.CancelScope(shield=True)
        process = await _start(reaper, inherited)
        nursery.start_soon(_keep_running, reaper, process, inherited, scope)
        try:
            yield reaper
        finally:
            scope.cancel()


class _ReaperProcess:
    """One reaper process, and the pipe that it reads."""

    def __init__(self, process: trio.Process, pipe: int) -> None:
        self._process = process
        self._pipe = pipe

    async def wait(self) -> None:
        """Wait for its end. Cancelled, close the pipe, which ends it."""
        try:
            await self._process.wait()
        finally:
            os.close(self._pipe)
            # With nothing left to stop it ends at once, and with it the last holder of the lock.
            with trio.move_on_after(_EXIT_TIMEOUT, shield=True):
                await self._process.wait()


async def _keep_running(
    reaper: Reaper, process: _ReaperProcess, inherited: tuple[int, ...], scope: trio.CancelScope
) -> None:
    with scope:
        while True:
            await process.wait()
            await trio.sleep(_PAUSE)
            process = await _start(reaper, inherited)


async def _start(reaper: Reaper, inherited: tuple[int, ...]) -> _ReaperProcess:
    # Neither end is inherited by other children (PEP 446): open in one of them, the end of this process would go
    # unseen.
    reading, writing = os.pipe()
    try:
        process = await trio.lowlevel.open_process(
            (sys.executable, "-I", "-S", str(_FILE)),
            stdin=reading,
            stdout=subprocess.DEVNULL,
            pass_fds=inherited,
            start_new_session=True,  # Ctrl-C in the terminal is not meant for it
        )
    except BaseException:
        os.close(writing)
        raise
    finally:
        # Ours as well: a write to a reaper that has died must fail, and not fill the pipe.
        os.close(reading)
    reaper.use_pipe(process.pid, writing)
    return _ReaperProcess(process, writing)
