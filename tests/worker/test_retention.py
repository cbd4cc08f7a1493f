"""The job that sweeps again and again."""

import trio
from msgspec import structs
from trio.testing import MockClock

from domain.ports import StoreUnavailable
from domain.retention.model import Swept
from domain.retention.sweep import SWEEP_ROWS
from settings.worker import WorkerSettings
from simulation.stores import open_memory_stores
from simulation.stores.clock import ManualClock
from simulation.stores.retention import ScriptedRetention
from worker.retention import run_retention

SETTINGS = WorkerSettings()
FULL, NOTHING = Swept(SWEEP_ROWS, 0, 0, 0, 0), Swept(0, 0, 0, 0, 0)


async def test_sweeps_go_on_for_ever(autojump_clock: MockClock) -> None:
    """At once, on without a pause while there is more, and then after every pause, an outage of the store or not."""
    retention = ScriptedRetention(FULL, FULL, NOTHING, StoreUnavailable())
    stores = structs.replace(open_memory_stores(), retention=retention)
    times: list[float] = []
    begun = trio.current_time()
    retention.on_sweep = lambda: times.append(round(trio.current_time() - begun))
    with trio.move_on_after(3.5 * SETTINGS.sweep_pause):
        await run_retention(SETTINGS, stores, ManualClock())
    assert times == [0, 0, 0, 60, 120, 180]
