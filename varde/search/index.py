"""The index in memory: SQLite's FTS5 over the folded words of every message, by its position in the log."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from varde.search.query import Query, fold
from varde.store.search import Mark, Searchable
from varde_contract.ids import ConversationId

START: Final = Mark(0, 0)

# `ascii`: of what `fold` leaves, spaces alone part words. unicode61 would judge by tables of Unicode 6.1, and would not
# know a composed from a decomposed letter. columnsize: only ranking wants it, and the newest message comes first.
_TABLE: Final = """
CREATE VIRTUAL TABLE words USING fts5(
    text, conversation UNINDEXED, tokenize = 'ascii', prefix = '1 2 3', columnsize = 0
)"""


class Index:
    """One index. Calls may come from several threads, one at a time."""

    def __init__(self, image: bytes | None = None, mark: Mark = START) -> None:
        """Open an empty one, or one from its image. Raises sqlite3.DatabaseError for what is none."""
        self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.mark = mark
        """What is in it: everything of the store up to here."""
        self.changed = 0
        """How many messages have come or changed since the last snapshot."""
        self.erased = False
        """Whether words that were there have gone since then."""
        try:
            if image is not None:
                self._connection.deserialize(image)
            # What is deleted is overwritten, so that no image holds it.
            self._connection.execute("PRAGMA secure_delete = ON")
            if image is None:
                self._connection.execute(_TABLE)
            self._connection.execute("SELECT count(*) FROM words WHERE rowid = 0").fetchone()
        except BaseException:
            self._connection.close()
            raise

    def apply(self, messages: Iterable[Searchable], mark: Mark) -> None:
        """Take in what messages say now, up to `mark`."""
        self._connection.execute("BEGIN")
        for each in messages:
            gone = self._connection.execute("DELETE FROM words WHERE rowid = ?", (each.position,)).rowcount
            self.erased |= gone > 0
            self.changed += 1
            if each.text and each.conversation is not None:
                row = each.position, fold(each.text), each.conversation.bytes
                self._connection.execute("INSERT INTO words (rowid, text, conversation) VALUES (?, ?, ?)", row)
        self._connection.execute("COMMIT")
        self.mark = mark

    def find(
        self, query: Query, conversation: ConversationId | None, limit: int, before: int | None = None
    ) -> Sequence[int]:
        """Return the positions of the newest messages with all terms, below `before`, the newest first."""
        if not query.terms:
            return []
        rows = self._connection.execute(
            "SELECT rowid FROM words WHERE words MATCH ?1 AND (?2 IS NULL OR conversation = ?2)"
            " AND rowid < ?3 ORDER BY rowid DESC LIMIT ?4",
            (
                query.expression,
                None if conversation is None else conversation.bytes,
                self.mark.position + 1 if before is None else before,
                limit,
            ),
        )
        return [row[0] for row in rows]

    def image(self) -> bytes:
        """Return the whole index as bytes, without a trace of what is not in it any more."""
        if self.erased:
            # A deleted word stays in its segment until segments are merged.
            self._connection.execute("INSERT INTO words (words) VALUES ('optimize')")
        return self._connection.serialize()

    def close(self) -> None:
        """Forget everything."""
        self._connection.close()
