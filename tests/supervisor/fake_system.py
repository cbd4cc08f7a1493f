"""`varde up` with fake programs: what they do is controlled by files, what the supervisor reports is recorded."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import trio

from supervisor.events import ProcessEvent

FAKES = Path(__file__).with_name("fake_programs.py")


class EventRecorder:
    """Records what the supervisor reports, and lets a test wait for it."""

    def __init__(self) -> None:
        self.events: list[ProcessEvent] = []
        self._changed = trio.Event()

    def report(self, event: ProcessEvent) -> None:
        """Record it."""
        self.events.append(event)
        self._changed.set()
        self._changed = trio.Event()

    def of(self, kind: type[ProcessEvent]) -> list[ProcessEvent]:
        """The events of one kind."""
        return [each for each in self.events if isinstance(each, kind)]

    async def wait_count(self, kind: type[ProcessEvent], count: int) -> list[ProcessEvent]:
        """Wait until so many of a kind came. The deadline is the test's."""
        while len(found := self.of(kind)) < count:
            await self._changed.wait()
        return found


class FakeControl:
    """Controls the fake programs of one data folder, and reads what happened to them."""

    def __init__(self, data: Path) -> None:
        self.data = data
        (data / "behaviour").mkdir(parents=True)

    def set_behaviour(self, name: str, behaviour: str) -> None:
        """Set how a program behaves from now on; an empty text means normally."""
        (self.data / "behaviour" / name).write_text(behaviour)

    def history(self) -> list[str]:
        """What happened to the fake programs, in order."""
        file = self.data / "history"
        return file.read_text().splitlines() if file.exists() else []

    async def wait_history(self, line: str, count: int = 1) -> None:
        """Wait until the line is in the history so often."""
        while self.history().count(line) < count:  # noqa: ASYNC110 - another process writes it: there is no event
            await trio.sleep(0.01)


class Running(NamedTuple):
    """`varde up`, or a fleet of relays, with fake programs, as a process of its own that is ready."""

    process: trio.Process
    lines: list[str]
    ready_file: Path


@asynccontextmanager
async def open_fake_up(data: Path, *, workers: int = 1) -> AsyncIterator[Running]:
    """Run it while the block runs, a fleet of relays alone where there are more `workers` than one.

    Its lines are collected, and complete once the process has ended.
    """
    ready_file = data / "ready.json"
    process = await trio.lowlevel.open_process(
        (sys.executable, str(FAKES.with_name("run_fake_system.py")), str(data), str(ready_file), str(workers)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    running, welcome = Running(process, [], ready_file), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_collect, process, running.lines, welcome)
        await welcome.wait()
        try:
            yield running
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def _collect(process: trio.Process, lines: list[str], welcome: trio.Event) -> None:
    assert process.stdout is not None
    pending = b""
    async for chunk in process.stdout:
        *whole, pending = (pending + chunk).split(b"\n")
        lines += [line.decode() for line in whole]
        if any("welcome" in line for line in lines):
            welcome.set()
