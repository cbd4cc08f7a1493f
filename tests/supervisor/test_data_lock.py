"""The lock on a data folder."""

import os
from pathlib import Path

import pytest
import trio

from supervisor.data_lock import FolderInUse, open_lock
from supervisor.events import LogLine
from tests.supervisor.fake_system import EventRecorder


async def test_the_lock_of_a_dead_supervisor_is_waited_for(tmp_path: Path, recorder: EventRecorder) -> None:
    """While its reaper holds the lock, the next supervisor waits and says so."""
    async with trio.open_nursery() as nursery:
        entered = trio.Event()
        async with open_lock(tmp_path, recorder.report) as held:
            inherited = os.dup(held)
        os.pwrite(inherited, b"4194304\n", 0)  # one more than the largest number a process can have

        async def enter() -> None:
            async with open_lock(tmp_path, recorder.report):
                entered.set()

        nursery.start_soon(enter)
        await recorder.wait_count(LogLine, 1)
        assert not entered.is_set()
        os.close(inherited)
        await entered.wait()


async def test_the_lock_names_its_living_holder(tmp_path: Path, recorder: EventRecorder) -> None:
    """Who is refused learns which process to stop, and what else to do."""
    async with open_lock(tmp_path, recorder.report):
        with pytest.raises(FolderInUse, match=rf"kill -INT {os.getpid()}.*--data"):
            async with open_lock(tmp_path, recorder.report):
                raise AssertionError("two must not hold it")
