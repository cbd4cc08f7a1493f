"""Leases in memory, by Trio's clock: a test with a mocked clock lets them end by moving it."""

import trio

from domain.jobs.ports import WorkerId
from simulation.stores.interference import Interference
from simulation.stores.memory import Memory


class MemoryLeases:
    """A `domain.jobs.ports.LeaseStore`."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self._memory = memory
        self._interference = interference

    async def take(self, job: str, holder: WorkerId, lease_ms: int) -> bool:
        """As promised."""
        await self._interference.let_through()
        now = trio.current_time()
        owner, until = self._memory.leases.get(job, (holder, now))
        if owner != holder and until > now:
            return False
        self._memory.leases[job] = holder, now + lease_ms / 1_000
        return True

    async def release(self, job: str, holder: WorkerId) -> None:
        """As promised."""
        await self._interference.let_through()
        if self._memory.leases.get(job, (None, 0.0))[0] == holder:
            del self._memory.leases[job]
