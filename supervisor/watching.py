"""The supervisor's side of the watchman: start it, tell it which processes to stop if we cannot, start it again.

What the watchman itself does is `watchman.py`, another program; nothing is stopped from here.
"""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from supervisor.program import Program

_FILE: Final = Path(__file__).with_name("watchman.py")
_PAUSE: Final = 0.5  # seconds; a watchman that dies at once must not make us spin
_FAREWELL: Final = 10.0  # seconds


class Watch:
    """What the watchman was told, kept so that another one can be told the same."""

    def __init__(self) -> None:
        self._kept: dict[int, str] = {}
        self._pipe = -1
        self.pid = 0

    def keep(self, pid: int, program: Program) -> None:
        """Have this process stopped when we are gone. The promise holds as soon as this returns."""
        self._kept[pid] = f"keep {pid} {int(program.stop_signal)} {program.stop_patience} {program.tier}\n"
        self._write(self._kept[pid])

    def drop(self, pid: int) -> None:
        """The process has ended."""
        if self._kept.pop(pid, None) is not None:
            self._write(f"drop {pid}\n")

    def _write(self, line: str) -> None:
        # Blocks only when 64 KiB are unread. What is written is read, even if we die now: it is in the kernel's hands.
        try:
            os.write(self._pipe, line.encode())
        except BrokenPipeError:
            return  # the next watchman is told everything

    def follow(self, pid: int, pipe: int) -> None:
        """Speak to this watchman from now on."""
        self.pid, self._pipe = pid, pipe
        for line in self._kept.values():
            self._write(line)


@asynccontextmanager
async def open_watch(*inherited: int) -> AsyncIterator[Watch]:
    """Run a watchman while the block runs; it inherits these file descriptors: a lock, for as long as it works."""
    watch = Watch()
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope(shield=True)
        watchman = await _start(watch, inherited)
        nursery.start_soon(_run_watchmen, watch, watchman, inherited, scope)
        try:
            yield watch
        finally:
            scope.cancel()


class _Watchman:
    """One of them, and the pipe that it reads."""

    def __init__(self, process: trio.Process, pipe: int) -> None:
        self._process = process
        self._pipe = pipe

    async def wait(self) -> None:
        """Wait for its end; when cancelled, bring the end about."""
        try:
            await self._process.wait()
        finally:
            os.close(self._pipe)
            # With nothing left to stop it ends at once, and with it the last holder of the lock.
            with trio.move_on_after(_FAREWELL, shield=True):
                await self._process.wait()


async def _run_watchmen(watch: Watch, watchman: _Watchman, inherited: tuple[int, ...], scope: trio.CancelScope) -> None:
    with scope:
        while True:
            await watchman.wait()
            await trio.sleep(_PAUSE)
            watchman = await _start(watch, inherited)


async def _start(watch: Watch, inherited: tuple[int, ...]) -> _Watchman:
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
        os.close(reading)
    watch.follow(process.pid, writing)
    return _Watchman(process, writing)
