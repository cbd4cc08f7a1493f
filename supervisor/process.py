"""One child process: it cannot outlive this one, its output is read line by line, it is stopped in time or killed."""

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Final, Protocol, TypeAlias

import trio

from supervisor.events import Killed, Report, Stopping
from supervisor.programs import Program
from supervisor.reaper import Reaper

_LINE_BYTES: Final = 16 * 1024
_CHUNK_BYTES: Final = 64 * 1024
"""As much as a pipe holds (pipe(7))."""
_DRAIN_TIMEOUT: Final = 1.0  # seconds; children that a dead program leaves behind may hold its output open

# The child waits here until the reaper knows of it. At the end of its input instead of a line it ends: a supervisor
# that is killed between the two leaves nothing behind.
_GATE: Final = 'read -r go && exec "$@" </dev/null'


class Process(Protocol):
    """What supervision needs of a process."""

    @property
    def pid(self) -> int:
        """Its process number."""

    async def wait(self) -> int:
        """Wait for its end and return its exit code, negative for a signal."""

    def send_signal(self, sig: signal.Signals, /) -> None:
        """Send it a signal; nothing happens when it has ended."""


OnLine: TypeAlias = Callable[[str], None]
Start: TypeAlias = Callable[[Program, OnLine], AbstractAsyncContextManager[Process]]
"""Run a process while the block runs. At the end of the block it is stopped, and its end is waited for, shielded."""


class Launcher:
    """Starts real processes. When `kill_now` is set, those that are being stopped are killed."""

    def __init__(self, reaper: Reaper, report: Report, kill_now: trio.Event) -> None:
        self._reaper = reaper
        self._report = report
        self._kill_now = kill_now

    @asynccontextmanager
    async def open_process(self, program: Program, on_line: OnLine) -> AsyncIterator[Process]:
        """See `Start`. Raises OSError when there is no such program."""
        process = await _spawn(program)
        self._reaper.register(process.pid, program)
        async with trio.open_nursery() as nursery:
            reading = trio.CancelScope(shield=True)
            try:
                await _open_gate(process)
                # Not before: the caller must have the process when its first line comes.
                nursery.start_soon(_read_lines, process.stdout, on_line, reading)
                yield process
            finally:
                await self._stop(program, process)
                # Only now: if this process is killed while it waits, the reaper has to finish the stop.
                self._reaper.unregister(process.pid)
                reading.deadline = trio.current_time() + _DRAIN_TIMEOUT

    async def _stop(self, program: Program, process: trio.Process) -> None:
        with trio.CancelScope(shield=True):
            if process.poll() is None:
                self._report(Stopping(program.name, process.pid))
                process.send_signal(program.stop_signal)
                with trio.move_on_after(program.stop_timeout):
                    await _wait_first(process.wait, self._kill_now.wait)
            if process.poll() is None:
                self._report(Killed(program.name, process.pid))
                with suppress(ProcessLookupError):
                    # The group: what the program has started ends with it.
                    os.killpg(process.pid, signal.SIGKILL)
            await process.wait()  # no deadline: nothing survives SIGKILL


async def _spawn(program: Program) -> trio.Process:
    return await trio.lowlevel.open_process(
        ("/bin/sh", "-c", _GATE, program.name, *program.command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # one pipe keeps the order of its lines
        env=program.environ,
        start_new_session=True,  # Ctrl-C in the terminal is for us; and it leads a process group to kill
    )


async def _open_gate(process: trio.Process) -> None:
    assert process.stdin is not None
    with suppress(trio.BrokenResourceError):  # killed already: `wait` will tell
        await process.stdin.send_all(b"\n")
    await process.stdin.aclose()


async def _read_lines(stream: trio.abc.ReceiveStream | None, on_line: OnLine, scope: trio.CancelScope) -> None:
    """Split at line ends. A longer line than anybody should write is cut into pieces."""
    assert stream is not None
    pending = b""
    async with stream:
        with scope:
            while chunk := await stream.receive_some(_CHUNK_BYTES):
                *lines, pending = (pending + chunk).split(b"\n")
                if len(pending) > _LINE_BYTES:
                    lines, pending = [*lines, pending], b""
                for line in lines:
                    on_line(line.decode(errors="replace"))
    if pending:
        on_line(pending.decode(errors="replace"))


async def _wait_first(*waits: Callable[[], object]) -> None:
    async with trio.open_nursery() as nursery:

        async def wait(one: Callable[[], object]) -> None:
            await one()  # type: ignore[misc]
            nursery.cancel_scope.cancel()

        for each in waits:
            nursery.start_soon(wait, each)
