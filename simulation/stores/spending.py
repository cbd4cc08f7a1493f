"""What all processes have given of budgets, in memory."""

from collections.abc import Sequence

from domain.ports import Spent
from simulation.stores.interference import Interference
from simulation.stores.memory import Memory


class MemorySpending:
    """A `domain.ports.SpendingStore`."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self._memory = memory
        self._interference = interference

    async def add(self, spent: Sequence[Spent]) -> Sequence[float]:
        """As promised."""
        await self._interference.let_through()
        now = self._memory.clock()
        for each in spent:
            before = max(self._memory.spending.get(each.key, 0.0), now)
            self._memory.spending[each.key] = before + each.milliseconds
        return [self._memory.spending[each.key] - now for each in spent]
