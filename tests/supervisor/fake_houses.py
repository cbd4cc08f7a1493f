"""What tests of the supervisor need around a house of stand-in programs: an ear, orders, and `varde up` as a process.

No test and no fixture lives here.
"""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import trio

from supervisor.happenings import Happening

FAKES = Path(__file__).with_name("fake_programs.py")


class Ear:
    """Records what the supervisor tells, and lets a test wait for it."""

    def __init__(self) -> None:
        self.heard: list[Happening] = []
        self._changed = trio.Event()

    def tell(self, happening: Happening) -> None:
        """Record it."""
        self.heard.append(happening)
        self._changed.set()
        self._changed = trio.Event()

    def of(self, kind: type[Happening]) -> list[Happening]:
        """What was heard of one kind."""
        return [each for each in self.heard if isinstance(each, kind)]

    async def wait_count(self, kind: type[Happening], count: int) -> list[Happening]:
        """Wait until so many of a kind were heard. The test's own deadline ends it otherwise."""
        while len(found := self.of(kind)) < count:
            await self._changed.wait()
        return found


class Orders:
    """Tells the stand-ins of one house what to do, and reads their diary."""

    def __init__(self, data: Path) -> None:
        self.data = data
        (data / "orders").mkdir(parents=True)

    def give(self, name: str, order: str) -> None:
        """Give an order, obeyed from now on; an empty one withdraws it."""
        (self.data / "orders" / name).write_text(order)

    def diary(self) -> list[str]:
        """What the stand-ins lived through, in order."""
        file = self.data / "diary"
        return file.read_text().splitlines() if file.exists() else []

    async def wait_diary(self, line: str, count: int = 1) -> None:
        """Wait until the line stands there so often."""
        while self.diary().count(line) < count:  # noqa: ASYNC110 - another process writes it: there is no event
            await trio.sleep(0.01)


class Running(NamedTuple):
    """`varde up`, or a fleet of relays, with stand-ins, as a process of its own that has said welcome."""

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
        (sys.executable, str(FAKES.with_name("run_fake_house.py")), str(data), str(ready_file), str(workers)),
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
