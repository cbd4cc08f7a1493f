"""What a worker shows to Prometheus: its jobs, and how the transparency log stands."""

import httpx
import trio
from msgspec import structs

from domain.transparency.model import SignedHead
from simulation.stores import open_memory_stores
from simulation.stores.interference import Interference
from simulation.stores.memory import Memory
from worker.metrics import DEFINITIONS, WorkerMetrics, render_page, start_worker_metrics


async def test_a_worker_says_whether_it_can_work() -> None:
    """On its port for operators: it lives whatever its database does, and is ready with one of its own schema."""
    memory, interference = Memory(), Interference()
    stores = open_memory_stores(memory=memory, interference=interference)
    async with trio.open_nursery() as nursery:
        address = await start_worker_metrics(("127.0.0.1", 0), WorkerMetrics(), stores, lambda: 0, nursery)

        async def ask(path: str) -> tuple[int, str]:
            async with httpx.AsyncClient() as client:
                answer = await client.get(f"http://{address}{path}")
            return answer.status_code, answer.text

        assert await ask("/v1/ready") == (200, "ready\n")
        with interference.outage():
            assert await ask("/v1/ready") == (503, "not ready: database\n")
            assert await ask("/v1/health") == (200, "alive\n")
        memory.schema_fits = False
        assert await ask("/v1/ready") == (503, "not ready: schema\n")
        nursery.cancel_scope.cancel()


async def test_metrics_tell_what_an_alert_needs() -> None:
    """How old the checkpoint is, what waits, who does which job; and that the database is away."""
    memory, interference, metrics = Memory(), Interference(), WorkerMetrics()
    store = open_memory_stores(memory=memory, interference=interference).transparency
    metrics.held["checkpoints"], metrics.failures["checkpoints"] = 1, 2

    async def read() -> str:
        return (await render_page(metrics, store, lambda: 100_000, openmetrics=False)).text.decode()

    assert "varde_log_checkpoint_age_seconds" not in await read()
    head = SignedHead(3, bytes(32), b"", "", 40_000)
    memory.transparency.heads.update({False: head, True: structs.replace(head, signed_ms=10_000)})
    found = await read()
    for line in (
        "varde_worker_database_up 1.0",
        'varde_worker_job_held{name="checkpoints"} 1.0',
        'varde_worker_job_failures_total{name="checkpoints"} 2.0',
        "varde_log_entries 3.0",
        "varde_log_checkpoint_age_seconds 60.0",
        "varde_log_cosigned_age_seconds 90.0",
    ):
        assert f"{line}\n" in found
    assert all(f"# HELP {each.name} " in found for each in DEFINITIONS)
    with interference.outage():
        assert "varde_worker_database_up 0.0\n" in await read()
