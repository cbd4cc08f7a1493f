"""What the search takes from the store: messages to index, and which have changed since."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from varde.events import Edited, Message
from varde.store.database import Database
from varde.store.log import Log
from varde.store.references import References
from varde.store.table import Cell, StoreCipher, Table
from varde_contract.ids import ConversationId

BATCH: Final = 500
"""Messages read at a time: some 50 ms, in which nothing else of the client runs."""


class Mark(NamedTuple):
    """How much of the store an index holds: entries of the log, and changes of entries, both by number."""

    position: int
    change: int


class Searchable(NamedTuple):
    """A message by its position in the log, and its text as it stands now. Without text it is in no index."""

    position: int
    conversation: ConversationId | None
    text: str


class SearchTable(Table):
    """Reads the log in the order of coming in. Triggers note in `unindexed` which entries were written again."""

    def __init__(self, database: Database, cipher: StoreCipher, log: Log) -> None:
        super().__init__(database, cipher)
        self._log = log
        self._references = References(database, cipher)

    def newest(self) -> Mark:
        """Return the mark of now."""
        row = self._database.row("SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'unindexed'")
        return Mark(self._log.last_position(), 0 if row is None else row[0])

    def read_after(self, mark: Mark) -> tuple[Mark, Sequence[Searchable]]:
        """Return the next messages behind a mark, as they stand now, and the mark behind them: the same at the end."""
        rows = self._database.rows(
            "SELECT position FROM log WHERE position > ? AND kind IN ('message', 'edited') ORDER BY position LIMIT ?",
            mark.position,
            BATCH,
        )
        changes = self._database.rows(
            "SELECT change, position FROM unindexed WHERE change > ? ORDER BY change LIMIT ?", mark.change, BATCH
        )
        newest = self.newest()
        behind = Mark(
            rows[-1][0] if len(rows) == BATCH else max(newest.position, mark.position),
            changes[-1][0] if len(changes) == BATCH else max(newest.change, mark.change),
        )
        # What was written again further on is read when its turn comes.
        again = (position for _, position in changes if position <= behind.position)
        return behind, list(self._read(sorted({*(row[0] for row in rows), *again})))

    def message(self, position: int) -> Message | None:
        """Return a message as it stands now; None where there is none, or nothing is left of it."""
        entry = self._log.entry(position)
        if entry is None or not isinstance(entry.event, Message) or entry.event.deleted:
            return None
        return self._log.message(entry.event.conversation, entry.event.ref)

    def has_changes(self, mark: Mark) -> bool:
        """Whether entries were written again since a mark."""
        return self._database.row("SELECT 1 FROM unindexed WHERE change > ? LIMIT 1", mark.change) is not None

    def forget_changes(self, upto: int) -> None:
        """No snapshot lacks the changes up to this one."""
        self._database.run("DELETE FROM unindexed WHERE change <= ?", upto)

    def seal(self, cell: Cell, plaintext: bytes) -> bytes:
        """Encrypt a part of a snapshot. May be called from another thread."""
        return self._cipher.encrypt(cell, plaintext)

    def open(self, cell: Cell, sealed: bytes) -> bytes:
        """Decrypt a part of a snapshot. Raises StoreDamaged. May be called from another thread."""
        return self._cipher.decrypt(cell, sealed)

    def _read(self, positions: Sequence[int]) -> Iterator[Searchable]:
        for position in positions:
            entry = self._log.entry(position)
            match None if entry is None else entry.event:
                case Message() as message:
                    yield self._as_it_stands(position, message)
                case Edited(conversation=conversation, target=target):
                    found = self._log.find(conversation, target)
                    # It may have come before what it changes: then it counts when that comes.
                    if found is not None:
                        yield self._as_it_stands(*found)
                case None:
                    yield Searchable(position, None, "")

    def _as_it_stands(self, position: int, message: Message) -> Searchable:
        text = message.text
        # Nearly no message is edited, and to put one together takes as long as to read five.
        if self._references.positions(message.conversation, message.ref, "edited"):
            edited = self._log.message(message.conversation, message.ref)
            text = "" if edited is None else edited.text
        return Searchable(position, message.conversation, "" if message.deleted else text)
