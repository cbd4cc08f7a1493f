"""The transparency log in memory."""

from collections.abc import Iterable, Sequence

from domain.transparency.model import Backlog, Logged, Pending, SignedHead
from simulation.stores.interference import Interference
from simulation.stores.memory import Memory
from varde_contract.ids import AccountId
from varde_contract.transparency.entry import Entry
from varde_contract.transparency.tiles import Growth, Tile


class MemoryLog:
    """A `domain.transparency.ports.LogStore`."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self._memory = memory.transparency
        self._interference = interference

    async def enqueue(self, entries: Sequence[Entry]) -> None:
        """As promised."""
        await self._interference.let_through()
        for entry in entries:
            self._memory.enqueue(entry)

    async def pending(self, limit: int) -> Sequence[Pending]:
        """As promised."""
        await self._interference.let_through()
        return [Pending(*each) for each in sorted(self._memory.pending.items())[:limit]]

    async def head(self, *, cosigned: bool = False) -> SignedHead | None:
        """As promised."""
        await self._interference.let_through()
        return self._memory.heads.get(cosigned)

    async def append(
        self, before: SignedHead | None, pending: Sequence[Pending], growth: Sequence[Growth], head: SignedHead
    ) -> bool:
        """As promised."""
        await self._interference.let_through()
        memory, now = self._memory, self._memory.heads.get(False)
        if (now and (now.size, now.root)) != (before and (before.size, before.root)):
            return False
        if any(each.place not in memory.pending for each in pending):
            return False
        for each in pending:
            memory.entries.append(memory.pending.pop(each.place))
        for tile, hashes in growth:
            memory.tiles[tile] = memory.tiles.get(tile, b"") + hashes
        memory.heads[False] = head
        return True

    async def keep_cosigned(self, head: SignedHead) -> None:
        """As promised."""
        await self._interference.let_through()
        kept = self._memory.heads.get(True)
        if kept is None or kept.size <= head.size:
            self._memory.heads[True] = head

    async def tiles(self, tiles: Iterable[Tile]) -> dict[Tile, bytes]:
        """As promised."""
        await self._interference.let_through()
        return {tile: self._memory.tiles[tile] for tile in tiles if tile in self._memory.tiles}

    async def entries(self, first: int, count: int) -> Sequence[Entry]:
        """As promised."""
        await self._interference.let_through()
        return self._memory.entries[first : first + count]

    async def find(self, account: AccountId, first: int, limit: int) -> Sequence[Logged]:
        """As promised."""
        await self._interference.let_through()
        found = [Logged(entry, index) for index, entry in enumerate(self._memory.entries) if entry.account == account]
        return sorted((each for each in found if each.entry.number >= first), key=lambda each: each.entry.number)[
            :limit
        ]

    async def backlog(self) -> Backlog:
        """As promised."""
        await self._interference.let_through()
        head = self._memory.heads.get(False)
        return Backlog(len(self._memory.pending), None if head is None else head.signed_ms)
