"""The store of the log. Every method is a checkpoint, and may raise StoreUnavailable."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from domain.transparency.model import Backlog, Logged, Pending, SignedHead
from varde_contract.ids import AccountId
from varde_contract.transparency.entry import Entry
from varde_contract.transparency.tiles import Growth, Tile


class StaleLogStore(Protocol):
    """A copy of the log that may be behind: on a replica, which shows what is appended some time later.

    What is in it never changes, but that a tile gets wider. So whoever knows a checkpoint sees what is missing.
    """

    async def tiles(self, tiles: Iterable[Tile]) -> dict[Tile, bytes]:
        """Return those of the tiles that are there, as wide as they are by now."""

    async def entries(self, first: int, count: int) -> Sequence[Entry]:
        """Return the entries from number `first`, in their order; those that are there."""


class LogStore(StaleLogStore, Protocol):
    """Pending entries, the log, its tiles, and two checkpoints: the newest, and the newest that was cosigned.

    Here the log is never behind.
    """

    async def enqueue(self, entries: Sequence[Entry]) -> None:
        """Let entries wait for the log. A device list is enqueued by the transaction that stores it."""

    async def pending(self, limit: int) -> Sequence[Pending]:
        """Return what waits, first come first."""

    async def head(self, *, cosigned: bool = False) -> SignedHead | None:
        """Return the newest checkpoint, or the newest that witnesses have cosigned."""

    async def append(
        self, before: SignedHead | None, pending: Sequence[Pending], growth: Sequence[Growth], head: SignedHead
    ) -> bool:
        """Take entries out of the queue into the log, with their tiles and the checkpoint, all or nothing.

        False when `before` is not the newest checkpoint any more: somebody else appends, and nothing was changed.
        """

    async def keep_cosigned(self, head: SignedHead) -> None:
        """Keep a checkpoint that was cosigned, unless a larger one is kept already."""

    async def find(self, account: AccountId, first: int, limit: int) -> Sequence[Logged]:
        """Return the entries of an account from list number `first`, in the order of these numbers."""

    async def backlog(self) -> Backlog:
        """Return what an alert asks for."""
