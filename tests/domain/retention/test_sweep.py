"""One sweep."""

from domain.retention.model import Swept
from domain.retention.sweep import RETENTION_MS, SWEEP_ROWS, sweep
from simulation.stores.retention import ScriptedRetention


async def test_a_sweep_says_whether_there_is_more() -> None:
    """A full batch of any kind is followed by another."""
    store = ScriptedRetention(Swept(0, 0, 0, 0, SWEEP_ROWS))
    assert await sweep(store, now_ms=5)
    assert not await sweep(store, now_ms=6)
    assert store.sweeps == [(5, RETENTION_MS, SWEEP_ROWS), (6, RETENTION_MS, SWEEP_ROWS)]
