"""What was said and what is missing, in the order it came in."""

import enum
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from varde.happenings import Gap, Kept, Message, Undecryptable, Unsent
from varde.store.sealing import Place
from varde.store.shelf import Shelf
from varde_contract.ids import ClientId, ConversationId, DeviceId


class Taken(enum.IntEnum):
    """Whether an iterator has handed an entry out."""

    NOT_YET = 0
    DONE = 1
    NEVER = 2  # this device's own message: its sender knows


class Entry(NamedTuple):
    """One row: its place in the order of coming in, and what happened."""

    position: int
    kept: Kept


class Log(Shelf):
    """Messages, gaps, what could not be opened, and what could not be sent."""

    def add(self, kept: Kept, taken: Taken = Taken.NOT_YET) -> bool:
        """Keep what happened; False when its number, or its client id from that device, is here already."""
        conversation, seq, device, client_id = _keys(kept)
        if client_id is not None and device is not None and self.has(conversation, device, client_id):
            return False
        if seq is not None and self._at(conversation, seq):
            return False
        self._insert(kept, (conversation.bytes, seq, _bytes(device), _bytes(client_id)), taken)
        return True

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
            "SELECT position, sealed FROM log WHERE conversation = ? AND kind = 'message' AND (?2 IS NULL OR seq < ?2)"
            " ORDER BY seq DESC LIMIT ?3",
            conversation.bytes,
            before,
            limit,
        )
        return [self._open(_place(position), sealed, Message) for position, sealed in reversed(rows)]

    def losses(self, conversation: ConversationId) -> Sequence[Gap | Undecryptable]:
        """Return every gap and every message that could not be opened, in order."""
        rows = self._database.rows(
            "SELECT position, sealed FROM log WHERE conversation = ? AND kind IN ('gap', 'undecryptable') ORDER BY seq",
            conversation.bytes,
        )
        return [self._open(_place(position), sealed, Gap | Undecryptable) for position, sealed in rows]  # type: ignore[arg-type]

    def last_position(self) -> int:
        """Return the position of the newest entry there ever was."""
        row = self._database.row("SELECT ifnull(max(position), 0) FROM log")
        return 0 if row is None else int(row[0])

    def not_taken(self, conversation: ConversationId | None) -> Sequence[int]:
        """Return the positions that no iterator has finished with, in order."""
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

    def take(self, position: int) -> None:
        """An iterator has finished with the entry."""
        self._database.run("UPDATE log SET taken = 1 WHERE position = ? AND taken = 0", position)

    def _entry(self, position: int, sealed: bytes) -> Entry:
        return Entry(position, self._open(_place(position), sealed, Kept))  # type: ignore[arg-type]

    def _insert(self, kept: Kept, keys: tuple[bytes, int | None, bytes | None, bytes | None], taken: Taken) -> None:
        # The position is part of the seal, so it is chosen here instead of by SQLite.
        (last,) = self._database.row("SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'log'") or (0,)
        position = int(last) + 1
        self._database.run(
            "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            position,
            *keys,
            str(kept.__struct_config__.tag),
            int(taken),
            self._close(_place(position), kept),
        )

    def _at(self, conversation: ConversationId, seq: int) -> bool:
        return (
            self._database.row("SELECT 1 FROM log WHERE conversation = ? AND seq = ?", conversation.bytes, seq)
            is not None
        )


def _keys(kept: Kept) -> tuple[ConversationId, int | None, DeviceId | None, ClientId | None]:
    match kept:
        case Message():
            return kept.conversation, kept.seq, kept.device, kept.client_id
        case Gap():
            return kept.conversation, kept.from_seq, None, None
        case Undecryptable():
            return kept.conversation, kept.seq, None, None
        case Unsent():
            return kept.conversation, None, None, kept.client_id


def _bytes(key: UUID | None) -> bytes | None:
    return None if key is None else key.bytes


def _place(position: int) -> Place:
    return Place("log", "sealed", position)
