"""Reading the log: look-ups with their proofs, tiles, and bundles of entries."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from domain.transparency.model import Logged, SignedHead
from domain.transparency.ports import LogStore
from varde_contract.ids import AccountId
from varde_contract.transparency.entry import join_entries
from varde_contract.transparency.merkle import HASH_BYTES, proof_ranges
from varde_contract.transparency.tiles import WIDTH, Tile, range_hash, tiles_of, width_of

LOOKUP_MOST: Final = 64
"""Entries of one answer. At 20 hashes each it takes 55 KiB."""


class Proven(NamedTuple):
    """An entry with its proof in the tree of a checkpoint."""

    logged: Logged
    hashes: tuple[bytes, ...]


class Log:
    """What anybody may read. Checkpoints are read first: whatever is appended meanwhile is behind their size."""

    def __init__(self, store: LogStore) -> None:
        self._store = store

    async def head(self, *, cosigned: bool = False) -> SignedHead | None:
        """Return the newest checkpoint. Raises StoreUnavailable."""
        return await self._store.head(cosigned=cosigned)

    async def lookup(self, account: AccountId, first: int) -> tuple[SignedHead, list[Proven]] | None:
        """Return the newest checkpoint, and the account's entries from list number `first`, proven in it.

        None while nothing was signed. Raises StoreUnavailable.
        """
        head = await self._store.head()
        if head is None:
            return None
        found = await self._store.find(account, first, LOOKUP_MOST)
        logged = [each for each in found if each.index < head.size]
        proofs = await self._prove([(each.index, each.index + 1, head.size) for each in logged])
        return head, [Proven(*each) for each in zip(logged, proofs, strict=True)]

    async def consistency(self, old: int, size: int) -> tuple[bytes, ...] | None:
        """Prove that the tree of `old` leaves is the beginning of that of `size`. None where there is no such tree."""
        head = await self._store.head()
        if head is None or not 0 < old <= size <= head.size:
            return None
        (proof,) = await self._prove([(0, old, size)])
        return proof

    async def tile(self, tile: Tile, width: int) -> bytes | None:
        """Return so many hashes of a tile; None when it does not have them in the newest checkpoint."""
        head = await self._store.head()
        if head is None or width > width_of(tile, head.size):
            return None
        return (await self._store.tiles([tile]))[tile][: width * HASH_BYTES]

    async def bundle(self, index: int, width: int) -> bytes | None:
        """Return a bundle of so many entries; None when it does not have them in the newest checkpoint."""
        head = await self._store.head()
        if head is None or width > width_of(Tile(0, index), head.size):
            return None
        return join_entries(list(await self._store.entries(index * WIDTH, width)))

    async def _prove(self, wanted: Sequence[tuple[int, int, int]]) -> list[tuple[bytes, ...]]:
        ranges = [list(proof_ranges(*each)) for each in wanted]
        tiles = await self._store.tiles(tiles_of(subtree for proof in ranges for subtree in proof))
        return [tuple(range_hash(subtree, tiles.__getitem__) for subtree in proof) for proof in ranges]
