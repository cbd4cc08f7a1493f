"""The stored events of all conversations, in the order in which they came in."""

import enum
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from varde.events import (
    ContactShared,
    Deleted,
    Edited,
    Gap,
    HistoryLost,
    MembershipChange,
    Message,
    Reaction,
    Reactions,
    Said,
    StoredEvent,
    TimerChanged,
    TranscriptBroken,
    Undecryptable,
    Unknown,
    Unsent,
)
from varde.sayings import SaidEvent
from varde.store.database import Database
from varde.store.references import EVERY, REACTIONS_MOST, REFERENCES_MOST, THREAD, References
from varde.store.table import Cell, StoreCipher, Table
from varde_contract.bodies import MessageRef
from varde_contract.ids import ClientId, ConversationId, DeviceId

T = TypeVar("T", bound=Said)


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

    def __init__(self, database: Database, cipher: StoreCipher) -> None:
        super().__init__(database, cipher)
        self._references = References(database, cipher)
        self.timers_changed: Callable[[], None] = lambda: None
        """Called when there is something more to delete at its time; set by whoever does so."""

    def add(self, event: StoredEvent, taken: Taken = Taken.NOT_YET) -> bool:
        """Store an event; False when its number, or its client id from that device, is here already."""
        conversation, seq, device, client_id = _keys(event)
        if client_id is not None and device is not None and self.has(conversation, device, client_id):
            return self._number_again(conversation, device, client_id, seq)
        # By number as well: the relay could send two messages under one, and the first was confirmed.
        if seq is not None and self._at(conversation, seq):
            return False
        position = self._insert(event, (conversation.bytes, seq, _bytes(device), _bytes(client_id)), taken)
        if isinstance(event, Said):
            self._refer(event, position)
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

    def lose(self, conversation: ConversationId, kept: int, own: DeviceId) -> Sequence[SaidEvent]:
        """Take the numbers beyond `kept` off their events, which stay; return what `own` had said among them."""
        self._database.run(
            "UPDATE log SET lost_seq = seq, seq = NULL WHERE conversation = ? AND seq > ?", conversation.bytes, kept
        )
        rows = self._database.rows(
            "SELECT position, sealed FROM log WHERE conversation = ? AND device = ? AND lost_seq IS NOT NULL"
            " ORDER BY lost_seq",
            conversation.bytes,
            own.bytes,
        )
        entries = [self._entry(*row).event for row in rows]
        return [each for each in entries if isinstance(each, Said) and not (isinstance(each, Message) and each.deleted)]

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
        """Return the last `limit` messages below number `before`, in order, each as it stands now."""
        rows = self._database.rows(
            "SELECT position, sealed FROM log WHERE conversation = ? AND kind = 'message'"
            " AND (?2 IS NULL OR ifnull(seq, lost_seq) < ?2)"
            " ORDER BY ifnull(seq, lost_seq) DESC, position DESC LIMIT ?3",
            conversation.bytes,
            before,
            limit,
        )
        messages = [self._decrypt(_log_cell(position), sealed, Message) for position, sealed in reversed(rows)]
        return [self._as_it_stands(message) for message in messages]

    def message(self, conversation: ConversationId, ref: MessageRef) -> Message | None:
        """Return a message by its name, as it stands now; None where this device has none."""
        found = self.find(conversation, ref)
        return None if found is None else self._as_it_stands(found[1])

    def thread(self, conversation: ConversationId, root: MessageRef) -> Sequence[Message]:
        """Return the messages in the thread of one, in order, each as it stands now."""
        entries = self._entries(self._references.positions(conversation, root, THREAD))
        return [self._as_it_stands(each) for each in entries if isinstance(each, Message)]

    def timer(self, conversation: ConversationId) -> int:
        """Return how many seconds a message stays after it was read; 0: for ever."""
        row = self._database.row("SELECT timer FROM conversation WHERE conversation = ?", conversation.bytes)
        return 0 if row is None else int(row[0])

    def start_timers(self, conversation: ConversationId, upto: int, now_ms: int) -> None:
        """The person has read up to a number: the time of what is to be deleted begins to run."""
        started = self._database.run(
            "UPDATE expiry SET at = ?3 + timer * 1000 WHERE at IS NULL AND position IN"
            " (SELECT position FROM log WHERE conversation = ?1 AND seq <= ?2)",
            conversation.bytes,
            upto,
            now_ms,
        )
        if started:
            self.timers_changed()

    def next_expiry(self) -> int | None:
        """Return when the next entry is to be deleted, in milliseconds since the Unix epoch."""
        row = self._database.row("SELECT min(at) FROM expiry WHERE at IS NOT NULL")
        return None if row is None else row[0]

    def expire(self, now_ms: int) -> Sequence[Message]:
        """Erase what is due; return it as it stands then."""
        due = self._database.rows("SELECT position FROM expiry WHERE at <= ? ORDER BY at", now_ms)
        self._database.run("DELETE FROM expiry WHERE at <= ?", now_ms)
        return [self._erase(position) for (position,) in due]

    def shared_contacts(self) -> Sequence[ContactShared]:
        """Return the contact cards that others passed on, in the order of their coming."""
        rows = self._database.rows("SELECT position FROM log WHERE kind = 'contact-shared' ORDER BY position")
        found = self._entries([row[0] for row in rows])
        return [each for each in found if isinstance(each, ContactShared) and not each.mine]

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

    def _refer(self, event: SaidEvent, position: int) -> None:
        if isinstance(event, Edited | Deleted) and not self._may_change(event, position):
            return
        if isinstance(event, Reaction):
            self._make_room_for(event)
        self._references.add(event, position)
        match event:
            case Message():
                if event.timer:
                    # One's own time runs from the sending: nobody marks as read what they wrote.
                    at = round(event.received.timestamp() * 1_000) + event.timer * 1_000 if event.mine else None
                    self._database.run("INSERT INTO expiry VALUES (?, ?, ?)", position, event.timer, at)
                    self.timers_changed()
                self._drop_of_others(event)
                if self._referring(event, Deleted):
                    self._erase(position)
            case Deleted():
                found = self.find(event.conversation, event.target)
                if found is not None and found[1].account == event.account:
                    self._erase(found[0])
            case TimerChanged():
                self._database.run(
                    "INSERT INTO conversation (conversation, timer, timer_seq) VALUES (?1, ?2, ?3)"
                    " ON CONFLICT (conversation) DO UPDATE SET timer = ?2, timer_seq = ?3 WHERE timer_seq < ?3",
                    event.conversation.bytes,
                    event.timer,
                    event.seq,
                )

    def _may_change(self, event: Edited | Deleted, position: int) -> bool:
        """Whether it may change its message, as far as that is here. Otherwise it may not crowd out what does."""
        found = self.find(event.conversation, event.target)
        if found is None:
            return True
        if isinstance(event, Edited) and found[1].deleted:
            self._put(position, replace(event, text="", mentions=()))
        return found[1].account == event.account

    def _make_room_for(self, reaction: Reaction) -> None:
        """Forget the oldest reactions of a person to a message, where there are too many."""
        theirs = [
            position
            for position in self._references.positions(reaction.conversation, reaction.target, _tag(Reaction), EVERY)
            if (entry := self.entry(position)) is not None
            and isinstance(entry.event, Reaction)
            and entry.event.profile == reaction.profile
        ]
        for position in theirs[: max(0, len(theirs) + 1 - REACTIONS_MOST)]:
            self._references.remove(position)

    def _drop_of_others(self, message: Message) -> None:
        """Forget who else wanted to change a message before it came."""
        for kind in (Edited, Deleted):
            for position in self._references.positions(*_name_of(message), _tag(kind), EVERY):
                (said,) = self._entries([position])
                if isinstance(said, Edited | Deleted) and said.account != message.account:
                    self._references.remove(position)

    def _as_it_stands(self, message: Message) -> Message:
        if message.deleted:
            return message
        changes: dict[str, object] = {"replies": len(self._references.positions(*_name_of(message), THREAD, EVERY))}
        edits = self._referring(message, Edited)
        if edits:
            newest = max(edits, key=lambda each: each.seq)
            changes |= {"text": newest.text, "mentions": newest.mentions, "edited": newest.written}
        # The newest of each person and emoji decides, by the order of the log: that is the same for everybody.
        decided = {(each.emoji, each.profile): each.on for each in _in_order(self._referring(message, Reaction, EVERY))}
        emojis = dict.fromkeys(emoji for (emoji, _), on in decided.items() if on)
        changes["reactions"] = tuple(
            Reactions(emoji, tuple(who for (each, who), on in decided.items() if on and each == emoji))
            for emoji in emojis
        )
        return replace(message, **changes)

    def _erase(self, position: int) -> Message:
        """Leave nothing of a message but that there was one; of the edits of it neither."""
        row = self._database.row("SELECT sealed FROM log WHERE position = ?", position)
        assert row is not None
        message = self._decrypt(_log_cell(position), row[0], Message)
        gone = replace(message, text="", mentions=(), deleted=True)
        self._put(position, gone)
        for each in self._references.positions(*_name_of(message), _tag(Edited), EVERY):
            (edit,) = self._entries([each])
            if isinstance(edit, Edited):
                self._put(each, replace(edit, text="", mentions=()))
        return gone

    def find(self, conversation: ConversationId, ref: MessageRef) -> tuple[int, Message] | None:
        """Return the position of a message by its name, and the message as it came."""
        row = self._database.row(
            "SELECT position, sealed FROM log WHERE conversation = ? AND device = ? AND client_id = ?"
            " AND kind = 'message'",
            conversation.bytes,
            ref.device.bytes,
            ref.client_id.bytes,
        )
        return None if row is None else (row[0], self._decrypt(_log_cell(row[0]), row[1], Message))

    def _referring(self, message: Message, kind: type[T], most: int = REFERENCES_MOST) -> Sequence[T]:
        entries = self._entries(self._references.positions(*_name_of(message), _tag(kind), most))
        return [each for each in entries if isinstance(each, kind)]

    def _entries(self, positions: Sequence[int]) -> Sequence[StoredEvent]:
        entries = (self.entry(position) for position in positions)
        return [each.event for each in entries if each is not None]

    def _put(self, position: int, event: StoredEvent) -> None:
        sealed = self._encrypt(_log_cell(position), event)
        self._database.run("UPDATE log SET sealed = ? WHERE position = ?", sealed, position)

    def _insert(
        self, event: StoredEvent, keys: tuple[bytes, int | None, bytes | None, bytes | None], taken: Taken
    ) -> int:
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
        return position

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
        case Said() | Unknown():
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


def _tag(kind: type[Struct]) -> str:
    return str(kind.__struct_config__.tag)


def _name_of(message: Message) -> tuple[ConversationId, MessageRef]:
    return message.conversation, message.ref


def _in_order(events: Iterable[T]) -> Sequence[T]:
    return sorted(events, key=lambda each: each.seq)
