"""One program under supervision: started, awaited until it is ready, started again whenever it ends; or run once."""

import random
import re
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Final

import trio

from supervisor.events import Exited, LogLine, Ready, Report, describe_exit
from supervisor.process import Process, Start
from supervisor.programs import Program

SECONDS: Final = 1.0

FIRST_STARTS: Final = 3
"""How often a program may fail before it was ever ready. After that a restart does not help."""
_TAIL_LINES: Final = 12
"""More than are shown: blank ones are left out there."""
_SHOWN_LINES: Final = 8

_ADVICE: Final = {
    # Guessed from what the program printed; its own lines are always shown beside the advice.
    "address already in use|address in use|EADDRINUSE|Errno 98|Errno 48": """
        Another program listens there. Stop it, or choose another address:
        `varde up --api-bind 127.0.0.1:0 --relay-bind 127.0.0.1:0` takes free ports.""",
    "cannot assign requested address|Errno 99": """
        That host is no address of this machine: use 127.0.0.1, or 0.0.0.0 for all of them.""",
    "connection refused|connect call failed|could not translate host|name or service not known": """
        Check VARDE_DATABASE_URL, and that its server runs; without the variable, Varde runs a Postgres of its own.""",
    "no space left": "The disk is full: make room, or choose another folder with --data.",
    "lock file .* already exists": "Another Postgres works on this folder: stop it.",
    "permission denied": "This user may not: check who owns the data folder, or choose another one with --data.",
    "was made by PostgreSQL": "Choose another folder with --data, or run pg_upgrade on this one.",
    "No module named": "A part is not installed: run `make up` once, which installs what is needed.",
}


@dataclass(slots=True)
class Backoff:
    """Doubling delays from `first` to `most` seconds, minus a random part of up to a half.

    After a program has run for `healthy` seconds, the next delay is the first again.
    """

    random: Callable[[], float]
    first: float = 0.2 * SECONDS
    most: float = 15 * SECONDS
    healthy: float = 20 * SECONDS
    _failures: int = field(default=0, init=False)

    def next_delay(self, lived: float) -> float:
        """Count one failure of a program that lived that many seconds, and return the seconds to wait."""
        if lived >= self.healthy:
            self._failures = 0
        # The exponent is bounded, too: a float overflows after a thousand failures.
        delay = min(self.most, self.first * 2.0 ** min(self._failures, 32))
        self._failures += 1
        # Workers that fail together, of one lost database, must not all come back at the same moment.
        return delay * (1 - self.random() / 2)


class StartFailed(Exception):
    """A program never became ready, or failed at what it had to do once. `said` holds the last lines it wrote."""

    def __init__(self, program: Program, why: str, said: tuple[str, ...], *, what: str = "did not start") -> None:
        super().__init__(f"{program.name} {what}: it {why}")
        self.program = program
        self.said = said


class SupervisedProcess:
    """A program that is kept running: where it is now, and how often it has started. Changed by its supervisor only."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.pid = 0
        self.address = ""
        self.starts = 0
        self._changed = trio.Event()
        self._ready: Process | None = None
        # A set: the same signal twice before it is ready is one, as with the kernel's own pending signals (signal(7)).
        self._pending_signals: set[signal.Signals] = set()

    async def wait_start(self, number: int) -> None:
        """Wait until it has been ready for the `number`-th time. Ends with the caller's scope; it may never happen."""
        while self.starts < number:
            await self._changed.wait()

    def send_signal(self, number: signal.Signals) -> None:
        """Signal the process: now, or as soon as it is ready. Before that it may not handle the signal yet."""
        self._pending_signals.add(number)
        self._deliver()

    def mark_ready(self, process: Process, address: str) -> None:
        """The process is ready: wake who waits, deliver the signals."""
        self.pid, self.address, self.starts = process.pid, address, self.starts + 1
        self._ready = process
        self._deliver()
        self._changed.set()
        self._changed = trio.Event()

    def mark_ended(self) -> None:
        """The process has ended."""
        self._ready = None

    def _deliver(self) -> None:
        while self._ready is not None and self._pending_signals:
            self._ready.send_signal(self._pending_signals.pop())


@asynccontextmanager
async def open_supervised(
    program: Program, start: Start, report: Report, backoff: Backoff
) -> AsyncIterator[SupervisedProcess]:
    """Keep a program running while the block runs; the block begins when it is ready for the first time.

    Raises:
        StartFailed: it ended, or did not become ready in its time, `FIRST_STARTS` times in a row.
    """
    supervisor = _Supervisor(program, start, report, backoff)
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(supervisor.run, scope)
        await supervisor.process.wait_start(1)
        # From here on only the end of the block stops it. Blocks inside this one end first, and their programs with
        # them, even when everything is cancelled at once.
        scope.shield = True
        try:
            yield supervisor.process
        finally:
            scope.cancel()


# A task for each and no exit stack, which would stop one after the other: N times the time that a drain takes.
async def run_supervised(
    program: Program, start: Start, report: Report, task_status: trio.TaskStatus[SupervisedProcess]
) -> None:
    """Keep one of several programs running that are stopped all at once: by cancelling the nursery they run in."""
    async with open_supervised(program, start, report, Backoff(random.random)) as process:
        task_status.started(process)
        await trio.sleep_forever()  # its end is the nursery's


class _Supervisor:
    def __init__(self, program: Program, start: Start, report: Report, backoff: Backoff) -> None:
        self.process = SupervisedProcess(program)
        self._program = program
        self._start = start
        self._report = report
        self._backoff = backoff
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)

    async def run(self, scope: trio.CancelScope) -> None:
        with scope:
            failures = 0
            while True:
                begun = trio.current_time()
                pid, why = await self._run_process()
                failures += 1
                # What was ready once fails of something that may pass, such as a database that is away, and is started
                # for ever. What never was lacks something that only a person can give it.
                if not self.process.starts and failures == FIRST_STARTS:
                    raise StartFailed(self._program, f"{why}, {FIRST_STARTS} times in a row", tuple(self._tail))
                delay = self._backoff.next_delay(trio.current_time() - begun)
                self._report(Exited(self._program.name, pid, why, delay))
                await trio.sleep(delay)

    async def _run_process(self) -> tuple[int, str]:
        """Run one process to its end; return its number and why it ended."""
        self._tail.clear()  # what its last life said would explain the wrong death
        pid, begun, ready = 0, trio.current_time(), False
        startup = trio.CancelScope(deadline=begun + self._program.start_timeout)

        def on_line(line: str) -> None:
            nonlocal ready
            self._tail.append(line)
            address = None if ready else self._program.parse_ready(line)
            if address is None:
                self._report(LogLine(self._program.name, line))
                return
            ready, startup.deadline = True, inf
            self.process.mark_ready(process, address)
            self._report(
                Ready(self._program.name, process.pid, address, self.process.starts, trio.current_time() - begun)
            )

        with startup:
            async with self._start(self._program, on_line) as process:
                pid = process.pid
                try:
                    return pid, describe_exit(await process.wait())
                finally:
                    self.process.mark_ended()
        return pid, f"was not ready after {self._program.start_timeout:g} s"


async def run_once(program: Program, start: Start, report: Report, *, report_output: bool = True) -> list[str]:
    """Run a program to its end and return the lines it wrote; `report_output` reports them, too.

    Raises:
        StartFailed: it ended with another exit code than 0, or took longer than its `start_timeout`.
    """
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        if report_output:
            report(LogLine(program.name, line))

    why = f"took longer than {program.start_timeout:g} s"
    with trio.move_on_after(program.start_timeout):
        async with start(program, on_line) as process:
            code = await process.wait()
        if code == 0:
            return lines
        why = describe_exit(code)
    raise StartFailed(program, why, tuple(lines[-_TAIL_LINES:]), what="failed")


def explain(failure: StartFailed) -> str:
    """Return what failed, what it wrote, and what to do, on several lines."""
    said = [line for line in failure.said if line.strip()][-_SHOWN_LINES:]
    parts = [f"{failure}."]
    if said:
        parts += ["It said:", *(f"    {line}" for line in said)]
    parts.append(_advise("\n".join(said)))
    return "\n".join(parts)


def _advise(said: str) -> str:
    for pattern, advice in _ADVICE.items():
        if re.search(pattern, said, re.IGNORECASE):
            return " ".join(advice.split())
    return "If these words do not help, run it alone and look closer: `varde relay`, `varde api`, `varde migrate`."
