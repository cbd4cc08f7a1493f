"""The stored events of all conversations, in the order in which they came in."""

import enum
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from varde.events import (
    Gap,
    HistoryLost,
    MembershipChange,
    Message,
    StoredEvent,
    TranscriptBroken,
    Undecryptable,
    Unknown,
    Unsent,
)
from varde.store.table import Cell, Table
from varde_contract.ids import ClientId, ConversationId, DeviceId


class Taken(enum.IntEnum):
    """Whether the application has taken an entry from an iterator."""

    NOT_YET = 0
    DONE = 1
    NEVER = 2  # this device's own message: its sender knows


class Entry(NamedTuple):
    """One row: its position in the order of coming in, and the event."""

    position: int
    event: StoredEvent


class Log(Table):
    """Messages, gaps, what could not be opened, and what could not be sent."""

    def add(self, event: StoredEvent, taken: Taken = Taken.NOT_YET) -> bool:
        """Store an event; False when its number, or its client id from that device, is here already."""
        conversation, seq, device, client_id = _keys(event)
        if client_id is not None and device is not None and self.has(conversation, device, client_id):
            return self._number_again(conversation, device, client_id, seq)
        # By number as well: the relay could send two messages under one, and the first was confirmed.
        if seq is not None and self._at(conversation, seq):
            return False
        self._insert(event, (conversation.bytes, seq, _bytes(device), _bytes(client_id)), taken)
        if isinstance(event, Gap | Undecryptable):
            self._count_lost(event)
        return True

    def _number_again(
        self, conversation: ConversationId, device: DeviceId, client_id: ClientId, seq: int | None
    ) -> bool:
        """Give a message that the server had lost the number under which it came again: it is not shown twice."""
        return (
            self._database.run(
                "UPDATE log SET seq = ?4, lost_seq = NULL WHERE conversation = ?1 AND device = ?2 AND client_id = ?3"
                " AND lost_seq IS NOT NULL AND NOT EXISTS (SELECT 1 FROM log WHERE conversation = ?1 AND seq = ?4)",
                conversation.bytes,
                device.bytes,
                client_id.bytes,
                seq,
            )
            > 0
        )

    def lose(self, conversation: ConversationId, kept: int, own: DeviceId) -> Sequence[Message]:
        """Take the numbers beyond `kept` off their events, which stay; return the messages of `own` among them."""
        self._database.run(
            "UPDATE log SET lost_seq = seq, seq = NULL WHERE conversation = ? AND seq > ?", conversation.bytes, kept
        )
        rows = self._database.rows(
            "SELECT position, sealed FROM log WHERE conversation = ? AND device = ? AND kind = 'message'"
            " AND lost_seq IS NOT NULL ORDER BY lost_seq",
            conversation.bytes,
            own.bytes,
        )
        return [self._decrypt(_log_cell(position), sealed, Message) for position, sealed in rows]

    def has(self, conversation: ConversationId, device: DeviceId, client_id: ClientId) -> bool:
        """Whether the device's message with this client id is here."""
        return (
            self._database.row(
                "SELECT 1 FROM log WHERE conversation = ? AND device = ? AND client_id = ?",
                conversation.bytes,
                device.bytes,
                client_id.bytes,
            )
            is not None
        )

    def history(self, conversation: ConversationId, limit: int, before: int | None) -> Sequence[Message]:
        """Return the last `limit` messages below number `before`, in order."""
        rows = self._database.rows(
            "SELECT position, sealed FROM log WHERE conversation = ? AND kind = 'message'"
            " AND (?2 IS NULL OR ifnull(seq, lost_seq) < ?2)"
            " ORDER BY ifnull(seq, lost_seq) DESC, position DESC LIMIT ?3",
            conversation.bytes,
            before,
            limit,
        )
        return [self._decrypt(_log_cell(position), sealed, Message) for position, sealed in reversed(rows)]

    def losses(self, conversation: ConversationId) -> Sequence[Gap | Undecryptable]:
        """Return every gap and every message that could not be opened, in order."""
        rows = self._database.rows(
            "SELECT position, sealed FROM log WHERE conversation = ? AND kind IN ('gap', 'undecryptable') ORDER BY seq",
            conversation.bytes,
        )
        return [self._decrypt(_log_cell(position), sealed, Gap | Undecryptable) for position, sealed in rows]  # type: ignore[arg-type]

    def last_position(self) -> int:
        """Return the position of the newest entry there ever was."""
        row = self._database.row("SELECT ifnull(max(position), 0) FROM log")
        return 0 if row is None else int(row[0])

    def recent(self, limit: int) -> Sequence[ConversationId]:
        """Return the conversations in which something was stored last, the latest first."""
        rows = self._database.rows(
            "SELECT conversation FROM log GROUP BY conversation ORDER BY max(position) DESC LIMIT ?", limit
        )
        return [ConversationId(UUID(bytes=row[0])) for row in rows]

    def not_taken(self, conversation: ConversationId | None) -> Sequence[int]:
        """Return the positions that the application has not taken, in order."""
        rows = self._database.rows(
            "SELECT position FROM log WHERE taken = 0 AND (?1 IS NULL OR conversation = ?1) ORDER BY position",
            _bytes(conversation),
        )
        return [row[0] for row in rows]

    def entry(self, position: int) -> Entry | None:
        """Return one entry."""
        row = self._database.row("SELECT sealed FROM log WHERE position = ?", position)
        return None if row is None else self._entry(position, row[0])

    def entry_after(self, position: int, conversation: ConversationId | None) -> Entry | None:
        """Return the first entry behind a position that may be handed out, taken by others or not."""
        row = self._database.row(
            "SELECT position, sealed FROM log WHERE position > ?1 AND taken < 2"
            " AND (?2 IS NULL OR conversation = ?2) ORDER BY position LIMIT 1",
            position,
            _bytes(conversation),
        )
        return None if row is None else self._entry(row[0], row[1])

    def mark_taken(self, position: int) -> None:
        """The application has finished with the entry."""
        self._database.run("UPDATE log SET taken = 1 WHERE position = ? AND taken = 0", position)

    def _entry(self, position: int, sealed: bytes) -> Entry:
        return Entry(position, self._decrypt(_log_cell(position), sealed, StoredEvent))  # type: ignore[arg-type]

    def _insert(
        self, event: StoredEvent, keys: tuple[bytes, int | None, bytes | None, bytes | None], taken: Taken
    ) -> None:
        # The position is part of the associated data, so it is chosen here instead of by SQLite. It never repeats:
        # sqlite_sequence remembers the highest one even when its row is gone.
        (last,) = self._database.row("SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'log'") or (0,)
        position = int(last) + 1
        self._database.run(
            "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)",
            position,
            *keys,
            str(event.__struct_config__.tag),
            int(taken),
            self._encrypt(_log_cell(position), event),
        )

    def _count_lost(self, event: Gap | Undecryptable) -> None:
        """The person is told of these numbers, so the transcript may lack them."""
        count = event.to_seq - event.from_seq + 1 if isinstance(event, Gap) else 1
        self._database.run(
            "UPDATE conversation SET lost = lost + ? WHERE conversation = ?", count, event.conversation.bytes
        )

    def _at(self, conversation: ConversationId, seq: int) -> bool:
        return (
            self._database.row("SELECT 1 FROM log WHERE conversation = ? AND seq = ?", conversation.bytes, seq)
            is not None
        )


def _keys(event: StoredEvent) -> tuple[ConversationId, int | None, DeviceId | None, ClientId | None]:
    match event:
        case Message() | Unknown():
            return event.conversation, event.seq, event.device, event.client_id
        case Gap():
            return event.conversation, event.from_seq, None, None
        case Undecryptable() | MembershipChange():
            return event.conversation, event.seq, None, None
        case Unsent():
            return event.conversation, None, None, event.client_id
        case TranscriptBroken() | HistoryLost():
            return event.conversation, None, None, None


def _bytes(key: UUID | None) -> bytes | None:
    return None if key is None else key.bytes


def _log_cell(position: int) -> Cell:
    return Cell("log", "sealed", position)
