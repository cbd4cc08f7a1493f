"""Reading the log: look-ups with their proofs, tiles, and bundles of entries."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from domain.ports import StoreUnavailable
from domain.transparency.model import Logged, SignedHead
from domain.transparency.ports import LogStore, StaleLogStore
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
    """What anybody may read. Checkpoints are read first: whatever is appended meanwhile is behind their size.

    Tiles and entries are asked of `stale` first, where there is one, and of `store` where that does not have them yet.
    """

    def __init__(self, store: LogStore, stale: StaleLogStore | None = None) -> None:
        self._store = store
        self._stale = stale

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
        proofs = await self._prove([(each.index, each.index + 1, head.size) for each in logged], head.size)
        return head, [Proven(*each) for each in zip(logged, proofs, strict=True)]

    async def consistency(self, old: int, size: int) -> tuple[bytes, ...] | None:
        """Prove that the tree of `old` leaves is the beginning of that of `size`. None where there is no such tree."""
        head = await self._store.head()
        if head is None or not 0 < old <= size <= head.size:
            return None
        (proof,) = await self._prove([(0, old, size)], size)
        return proof

    async def tile(self, tile: Tile, width: int) -> bytes | None:
        """Return so many hashes of a tile; None when it does not have them in the newest checkpoint."""
        head = await self._store.head()
        if head is None or width > width_of(tile, head.size):
            return None
        return (await self._tiles([tile], head.size))[tile][: width * HASH_BYTES]

    async def bundle(self, index: int, width: int) -> bytes | None:
        """Return a bundle of so many entries; None when it does not have them in the newest checkpoint."""
        head = await self._store.head()
        if head is None or width > width_of(Tile(0, index), head.size):
            return None
        if self._stale is not None:
            # A replica that is away costs a question to the primary, and no answer.
            with suppress(StoreUnavailable):
                entries = await self._stale.entries(index * WIDTH, width)
                if len(entries) == width:
                    return join_entries(list(entries))
        return join_entries(list(await self._store.entries(index * WIDTH, width)))

    async def _tiles(self, tiles: Collection[Tile], size: int) -> dict[Tile, bytes]:
        """Return tiles, each at least as wide as a log of `size` entries has it."""
        found: dict[Tile, bytes] = {}
        if self._stale is not None:
            with suppress(StoreUnavailable):
                found = await self._stale.tiles(tiles)
        found = {tile: hashes for tile, hashes in found.items() if len(hashes) >= width_of(tile, size) * HASH_BYTES}
        missing = [tile for tile in tiles if tile not in found]
        return found | await self._store.tiles(missing) if missing else found

    async def _prove(self, wanted: Sequence[tuple[int, int, int]], size: int) -> list[tuple[bytes, ...]]:
        ranges = [list(proof_ranges(*each)) for each in wanted]
        tiles = await self._tiles(tiles_of(subtree for proof in ranges for subtree in proof), size)
        return [tuple(range_hash(subtree, tiles.__getitem__) for subtree in proof) for proof in ranges]
