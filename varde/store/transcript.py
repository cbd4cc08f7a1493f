"""The transcript of each conversation: counter and digest of every message by device, own ones included."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from varde.store.table import Cell, Table
from varde_contract.envelope import SeenMessage
from varde_contract.ids import ConversationId, DeviceId


class Life(NamedTuple):
    """One incarnation of a device in a conversation: its counters begin at 1."""

    conversation: ConversationId
    device: DeviceId
    incarnation: bytes


class Missing(NamedTuple):
    """How many numbers of a conversation were not had: known to be lost; and parts for others, as the server says."""

    lost: int
    not_for_you: int


class TranscriptHead(NamedTuple):
    """The highest counter known of a life, what was not had by then, and whether that message was a part."""

    counter: int
    missing: Missing
    part: bool


class TranscriptTable(Table):
    """One row for each message that was opened, or acked. Digests are encrypted: one of a short text can be guessed."""

    def digest(self, life: Life, counter: int) -> bytes | None:
        """Return the digest of a message."""
        row = self._database.row(
            "SELECT digest FROM transcript WHERE conversation = ? AND device = ? AND incarnation = ? AND counter = ?",
            *_key(life),
            counter,
        )
        return None if row is None else self._decrypt(_digest_cell(life, counter), row[0], bytes)

    def head(self, life: Life) -> TranscriptHead | None:
        """Return the head of a life, None before its first message."""
        row = self._database.row(
            "SELECT counter, lost, not_for_you, part FROM transcript"
            " WHERE conversation = ? AND device = ? AND incarnation = ? ORDER BY counter DESC LIMIT 1",
            *_key(life),
        )
        return None if row is None else TranscriptHead(row[0], Missing(row[1], row[2]), bool(row[3]))

    def last_for_all(self, life: Life, upto: int) -> int:
        """Return the highest counter, not above `upto`, of a message that was no part; 0 for none."""
        row = self._database.row(
            "SELECT max(counter) FROM transcript"
            " WHERE conversation = ? AND device = ? AND incarnation = ? AND counter <= ? AND part = 0",
            *_key(life),
            upto,
        )
        return 0 if row is None or row[0] is None else int(row[0])

    def latest_life(self, conversation: ConversationId, device: DeviceId) -> Life | None:
        """Return the incarnation in which the device was heard last, None for a device never heard."""
        row = self._database.row(
            "SELECT incarnation FROM transcript WHERE conversation = ? AND device = ? ORDER BY seq DESC LIMIT 1",
            conversation.bytes,
            device.bytes,
        )
        return None if row is None else Life(conversation, device, row[0])

    def add(self, life: Life, counter: int, digest: bytes, seq: int, *, part: bool = False) -> None:
        """Note the message with this number, unless one with its counter is known."""
        self._database.run(
            "INSERT OR IGNORE INTO transcript VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *_key(life),
            counter,
            self._encrypt(_digest_cell(life, counter), digest),
            seq,
            *self.missing(life.conversation),
            int(part),
        )

    def newest(self, conversation: ConversationId, without: DeviceId, limit: int) -> Sequence[SeenMessage]:
        """Return the newest message of each device but one, newest first.

        No parts: a reader whose own part is still to come could not tell them from messages it was not given.
        """
        # SQLite takes the other columns from the row that has the maximum (lang_select, "Bare columns in an aggregate
        # query").
        rows = self._database.rows(
            "SELECT device, incarnation, counter, digest, max(seq) FROM transcript"
            " WHERE conversation = ? AND device <> ? AND part = 0 GROUP BY device ORDER BY max(seq) DESC LIMIT ?",
            conversation.bytes,
            without.bytes,
            limit,
        )
        return [self._seen(Life(conversation, DeviceId(UUID(bytes=row[0])), row[1]), row[2], row[3]) for row in rows]

    def missing(self, conversation: ConversationId) -> Missing:
        """Return how many numbers of the conversation this device did not have."""
        row = self._database.row(
            "SELECT lost, not_for_you FROM conversation WHERE conversation = ?", conversation.bytes
        )
        return Missing(0, 0) if row is None else Missing(*row)

    def add_lost(self, conversation: ConversationId, count: int) -> None:
        """So many more numbers are lost: the person was told, or they were before this device came."""
        self._database.run(
            "INSERT INTO conversation (conversation, lost) VALUES (?, ?)"
            " ON CONFLICT (conversation) DO UPDATE SET lost = lost + excluded.lost",
            conversation.bytes,
            count,
        )

    def add_not_for_you(self, conversation: ConversationId, count: int) -> None:
        """So many more numbers were parts for others, as the server says."""
        self._database.run(
            "UPDATE conversation SET not_for_you = not_for_you + ? WHERE conversation = ?", count, conversation.bytes
        )

    def _seen(self, life: Life, counter: int, sealed: bytes) -> SeenMessage:
        digest = self._decrypt(_digest_cell(life, counter), sealed, bytes)
        return SeenMessage(life.device, life.incarnation, counter, digest)


def _key(life: Life) -> tuple[bytes, bytes, bytes]:
    return life.conversation.bytes, life.device.bytes, life.incarnation


def _digest_cell(life: Life, counter: int) -> Cell:
    return Cell("transcript", "digest", *_key(life), counter)
