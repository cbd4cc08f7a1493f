"""Search on the device: an index in memory, opened from a sealed snapshot and brought up to date from the log.

Nothing of it is asked of a server. It is opened by the first search, and costs nothing before.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio
from msgspec import Struct

from varde.errors import StoreFailed
from varde.events import Message
from varde.search.index import START, Index
from varde.search.query import parse_query
from varde.search.snapshot import ID_BYTES, NAME, read_snapshot, write_snapshot
from varde.store import Store
from varde_contract.ids import ConversationId

SNAPSHOTS: Final = "search-snapshots"
"""The setting with the ids of the snapshots that are valid: an older one holds what was deleted since."""
SNAPSHOT_EVERY: Final = 5_000
"""Messages that a crash may leave to be indexed again: half a second."""
SNAPSHOT_AT_END: Final = 500
"""The same for a client that ends in order: fewer are indexed sooner than a snapshot of many is written."""
LOOK_SECONDS: Final = 300.0
"""Between two looks at what was deleted. So long its words may stay in a snapshot."""
RESULTS_MOST: Final = 500

Progress = Callable[[int, int], None]


class Found(Struct, frozen=True, tag="found"):
    """A message in which everything that was searched for is, as it stands now.

    `hits` says where in its text: start and length, in code points. `position` orders what was found; give it as
    `before` to go on.
    """

    message: Message
    hits: tuple[tuple[int, int], ...]
    position: int


class Search:
    """The search of one client."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._table = store.search
        self._path = None if store.folder is None else store.folder / NAME
        self._index: Index | None = None
        self._one_at_a_time = trio.Lock()

    async def find(
        self,
        words: str,
        *,
        conversation: ConversationId | None = None,
        limit: int = 20,
        before: int | None = None,
        progress: Progress | None = None,
    ) -> tuple[Found, ...]:
        """See `Client.search`."""
        query = parse_query(words)
        if not query.terms:
            return ()
        found: list[Found] = []
        async with self._one_at_a_time:
            index = await self._open(progress)
            # What was deleted while the last batch was read is here as a position, and is not shown.
            for position in index.find(query, conversation, max(0, min(limit, RESULTS_MOST)), before):
                message = self._table.message(position)
                if message is not None:
                    found.append(Found(message, tuple(query.hits(message.text)), position))
        return tuple(found)

    async def run(self) -> None:
        """Keep the snapshot up to date until cancelled."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            await self._keep(SNAPSHOT_EVERY)

    async def aclose(self) -> None:
        """Write a last snapshot where it is worth it, and forget the index."""
        await self._keep(SNAPSHOT_AT_END)
        if self._index is not None:
            self._index.close()
            self._index = None

    async def _keep(self, least: int) -> None:
        """Write a snapshot where so many messages are missing in it, or it holds words that were deleted."""
        if self._path is None or (self._index is None and not self._is_outdated()):
            return
        # The disk may be full, or be read only: then the next search takes longer.
        with suppress(StoreFailed, OSError):
            async with self._one_at_a_time:
                index = await self._open(None)
                if index.erased or index.changed >= least:
                    await self._write(index)
                elif self._table.has_changes(START):
                    with self._store.transaction():  # none of them was of anything that a snapshot holds
                        self._table.forget_changes(index.mark.change)

    def _is_outdated(self) -> bool:
        return bool(self._store.settings.find(SNAPSHOTS, list[bytes])) and self._table.has_changes(START)

    async def _open(self, progress: Progress | None) -> Index:
        """Return the index with everything in it that is in the store."""
        if self._index is None:
            valid = self._store.settings.find(SNAPSHOTS, list[bytes])
            self._index = await trio.to_thread.run_sync(self._load, valid or [])
            if valid and self._index.mark == START:
                # Should the file come back, it would bring what is deleted from now on.
                self._put_valid([])
        index, newest = self._index, self._table.newest()
        first = index.mark.position
        while index.mark != newest:
            mark, messages = self._table.read_after(index.mark)
            # No checkpoint between the two: a cancelled search leaves an index that the next one goes on with.
            index.apply(messages, mark)
            if progress is not None:
                progress(mark.position - first, newest.position - first)
            await trio.lowlevel.checkpoint()
            newest = self._table.newest()
        return index

    def _load(self, valid: list[bytes]) -> Index:
        read = None if self._path is None or not valid else read_snapshot(self._table, self._path, valid)
        if read is not None:
            # Written by a newer SQLite, or with a bug of ours: it is made again from the log.
            with suppress(sqlite3.DatabaseError):
                return Index(read[1], read[0].mark)
        return Index()

    async def _write(self, index: Index) -> None:
        assert self._path is not None
        snapshot, mark = os.urandom(ID_BYTES), index.mark
        before = self._store.settings.find(SNAPSHOTS, list[bytes]) or []
        image = await trio.to_thread.run_sync(index.image)
        # Valid before it is there, and the old one until then: a crash at any point leaves one that is.
        self._put_valid([*before, snapshot])
        try:
            await trio.to_thread.run_sync(write_snapshot, self._table, self._path, snapshot, mark, image)
        except BaseException:
            self._put_valid(before)
            raise
        index.changed, index.erased = 0, False
        with self._store.transaction():
            self._put_valid([snapshot])
            self._table.forget_changes(mark.change)

    def _put_valid(self, snapshots: list[bytes]) -> None:
        with self._store.transaction():
            self._store.settings.put(SNAPSHOTS, snapshots)
