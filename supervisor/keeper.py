"""The life of one program under the supervisor: started, watched until it is ready, started again whenever it ends.

No process is touched here, that is `process.py`; in which order programs live is in `house.py`.
"""

import signal
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from typing import Final

import trio

from supervisor.backoff import Backoff
from supervisor.happenings import Down, Said, Tell, Up, describe_exit
from supervisor.process import Process, Start
from supervisor.program import Program

FIRST_STARTS: Final = 3
"""How often a program may fail before it was ever ready. Then something is wrong that no restart will mend."""
_TAIL_LINES: Final = 12


class StartFailed(Exception):
    """A program never became ready, or failed at what it had to do once. `said` holds the last lines it wrote."""

    def __init__(self, program: Program, why: str, said: tuple[str, ...], *, what: str = "did not start") -> None:
        super().__init__(f"{program.name} {what}: it {why}")
        self.program = program
        self.said = said


class Kept:
    """A program that is kept running, as others may look at it: where it is now, and since when."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.pid = 0
        self.address = ""
        self.starts = 0
        self._changed = trio.Event()
        self._ready: Process | None = None
        self._owed: set[signal.Signals] = set()

    async def wait_start(self, number: int) -> None:
        """Wait until it has been ready for the `number`-th time. Ends with the caller's scope; it may never happen."""
        while self.starts < number:
            await self._changed.wait()

    def send_signal(self, number: signal.Signals) -> None:
        """Signal the process: now, or as soon as one is ready, for it may know what to do only then."""
        self._owed.add(number)
        self._pay()

    def set_up(self, process: Process, address: str) -> None:
        """It is ready; those who wait go on."""
        self.pid, self.address, self.starts = process.pid, address, self.starts + 1
        self._ready = process
        self._pay()
        self._changed.set()
        self._changed = trio.Event()

    def set_down(self) -> None:
        """It has ended."""
        self._ready = None

    def _pay(self) -> None:
        while self._ready is not None and self._owed:
            self._ready.send_signal(self._owed.pop())


@asynccontextmanager
async def open_kept(program: Program, start: Start, tell: Tell, backoff: Backoff) -> AsyncIterator[Kept]:
    """Keep a program running while the block runs; the block begins when it is ready for the first time.

    Raises:
        StartFailed: it ended, or did not become ready in its time, `FIRST_STARTS` times in a row.
    """
    keeper = _Keeper(program, start, tell, backoff)
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(keeper.run, scope)
        await keeper.kept.wait_start(1)
        # From here on only the end of the block stops it. Blocks inside this one end first, and their programs with
        # them, even when everything is cancelled at once.
        scope.shield = True
        try:
            yield keeper.kept
        finally:
            scope.cancel()


class _Keeper:
    def __init__(self, program: Program, start: Start, tell: Tell, backoff: Backoff) -> None:
        self.kept = Kept(program)
        self._program = program
        self._start = start
        self._tell = tell
        self._backoff = backoff
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)

    async def run(self, scope: trio.CancelScope) -> None:
        with scope:
            failures = 0
            while True:
                begun = trio.current_time()
                pid, why = await self._live()
                failures += 1
                if not self.kept.starts and failures == FIRST_STARTS:
                    raise StartFailed(self._program, f"{why}, {FIRST_STARTS} times in a row", tuple(self._tail))
                delay = self._backoff.next_delay(trio.current_time() - begun)
                self._tell(Down(self._program.name, pid, why, delay))
                await trio.sleep(delay)

    async def _live(self) -> tuple[int, str]:
        """Run one process to its end; return its number and why it ended."""
        self._tail.clear()
        pid, begun, ready = 0, trio.current_time(), False
        patience = trio.CancelScope(deadline=begun + self._program.start_patience)

        def on_line(line: str) -> None:
            nonlocal ready
            self._tail.append(line)
            address = None if ready else self._program.recognise(line)
            if address is None:
                self._tell(Said(self._program.name, line))
                return
            ready, patience.deadline = True, inf
            self.kept.set_up(process, address)
            self._tell(Up(self._program.name, process.pid, address, self.kept.starts, trio.current_time() - begun))

        with patience:
            async with self._start(self._program, on_line) as process:
                pid = process.pid
                try:
                    return pid, describe_exit(await process.wait())
                finally:
                    self.kept.set_down()
        return pid, f"was not ready after {self._program.start_patience:g} s"
