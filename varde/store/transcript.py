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


class TranscriptHead(NamedTuple):
    """The highest counter known of a life, and how many numbers of the conversation were known to be lost by then."""

    counter: int
    lost: int


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
            "SELECT counter, lost FROM transcript WHERE conversation = ? AND device = ? AND incarnation = ?"
            " ORDER BY counter DESC LIMIT 1",
            *_key(life),
        )
        return None if row is None else TranscriptHead(*row)

    def latest_life(self, conversation: ConversationId, device: DeviceId) -> Life | None:
        """Return the incarnation in which the device was heard last, None for a device never heard."""
        row = self._database.row(
            "SELECT incarnation FROM transcript WHERE conversation = ? AND device = ? ORDER BY seq DESC LIMIT 1",
            conversation.bytes,
            device.bytes,
        )
        return None if row is None else Life(conversation, device, row[0])

    def add(self, life: Life, counter: int, digest: bytes, seq: int) -> None:
        """Note the message with this number, unless one with its counter is known."""
        self._database.run(
            "INSERT OR IGNORE INTO transcript VALUES (?, ?, ?, ?, ?, ?, ?)",
            *_key(life),
            counter,
            self._encrypt(_digest_cell(life, counter), digest),
            seq,
            self.lost(life.conversation),
        )

    def newest(self, conversation: ConversationId, without: DeviceId, limit: int) -> Sequence[SeenMessage]:
        """Return the newest message of each device but one, newest first."""
        # SQLite takes the other columns from the row that has the maximum (lang_select, "Bare columns in an aggregate
        # query").
        rows = self._database.rows(
            "SELECT device, incarnation, counter, digest, max(seq) FROM transcript"
            " WHERE conversation = ? AND device <> ? GROUP BY device ORDER BY max(seq) DESC LIMIT ?",
            conversation.bytes,
            without.bytes,
            limit,
        )
        return [self._seen(Life(conversation, DeviceId(UUID(bytes=row[0])), row[1]), row[2], row[3]) for row in rows]

    def lost(self, conversation: ConversationId) -> int:
        """Return how many numbers of the conversation are known to be lost to this device."""
        row = self._database.row("SELECT lost FROM conversation WHERE conversation = ?", conversation.bytes)
        return 0 if row is None else int(row[0])

    def add_lost(self, conversation: ConversationId, count: int) -> None:
        """So many more numbers are lost: the person was told, or they were before this device came."""
        self._database.run(
            "INSERT INTO conversation (conversation, lost) VALUES (?, ?)"
            " ON CONFLICT (conversation) DO UPDATE SET lost = lost + excluded.lost",
            conversation.bytes,
            count,
        )

    def _seen(self, life: Life, counter: int, sealed: bytes) -> SeenMessage:
        digest = self._decrypt(_digest_cell(life, counter), sealed, bytes)
        return SeenMessage(life.device, life.incarnation, counter, digest)


def _key(life: Life) -> tuple[bytes, bytes, bytes]:
    return life.conversation.bytes, life.device.bytes, life.incarnation


def _digest_cell(life: Life, counter: int) -> Cell:
    return Cell("transcript", "digest", *_key(life), counter)
