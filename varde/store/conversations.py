"""Conversations as this device knows them: verified rosters, how far it has received, how far people have read."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from varde.events import Gap
from varde.store.table import Cell, Table
from varde_contract.ids import ConversationId, EpochId, ProfileId
from varde_contract.rest.talk import ConversationView
from varde_contract.talk import GapReason


class Conversations(Table):
    """One row for each conversation."""

    def all_ids(self) -> Sequence[ConversationId]:
        """Return the conversations in the order of their ids, which is that of their making."""
        return [
            ConversationId(UUID(bytes=row[0]))
            for row in self._database.rows("SELECT conversation FROM conversation ORDER BY conversation")
        ]

    def roster(self, conversation: ConversationId) -> ConversationView | None:
        """Return the roster that was verified last."""
        row = self._database.row("SELECT roster FROM conversation WHERE conversation = ?", conversation.bytes)
        if row is None or row[0] is None:
            return None
        return self._decrypt(_roster_cell(conversation), row[0], ConversationView)

    def put_roster(self, view: ConversationView) -> None:
        """Keep a roster that was verified."""
        self._database.run(
            "INSERT INTO conversation (conversation, roster) VALUES (?, ?)"
            " ON CONFLICT (conversation) DO UPDATE SET roster = excluded.roster",
            view.conversation.bytes,
            self._encrypt(_roster_cell(view.conversation), view),
        )

    def upto(self, conversation: ConversationId) -> int | None:
        """Return the last number received, None before the relay named the first."""
        row = self._database.row("SELECT upto FROM conversation WHERE conversation = ?", conversation.bytes)
        return None if row is None else row[0]

    def advance(self, conversation: ConversationId, upto: int) -> None:
        """Count the numbers up to and with `upto` as received."""
        self._database.run(
            "INSERT INTO conversation (conversation, upto) VALUES (?, ?) ON CONFLICT (conversation)"
            " DO UPDATE SET upto = max(ifnull(upto, 0), excluded.upto)",
            conversation.bytes,
            upto,
        )

    def epoch(self, conversation: ConversationId) -> tuple[EpochId, int] | None:
        """Return the epoch that the numbers are of, and the last one kept when it began; None when none was told."""
        row = self._database.row(
            "SELECT epoch, kept FROM conversation WHERE conversation = ? AND epoch IS NOT NULL", conversation.bytes
        )
        return None if row is None else (EpochId(UUID(bytes=row[0])), row[1])

    def put_epoch(self, conversation: ConversationId, epoch: EpochId, kept: int) -> None:
        """Note the epoch that the numbers are of."""
        self._database.run(
            "INSERT INTO conversation (conversation, epoch, kept) VALUES (?, ?, ?) ON CONFLICT (conversation)"
            " DO UPDATE SET epoch = excluded.epoch, kept = excluded.kept",
            conversation.bytes,
            epoch.bytes,
            kept,
        )

    def go_back(self, conversation: ConversationId, kept: int) -> None:
        """Forget every position beyond a number, because the server has lost what came after it."""
        self._database.run(
            "UPDATE conversation SET upto = min(upto, ?2), read_upto = min(read_upto, ?2),"
            " read_told = min(read_told, ?2) WHERE conversation = ?1",
            conversation.bytes,
            kept,
        )
        self._database.run(
            "UPDATE receipt SET delivered = min(delivered, ?2), read = min(read, ?2) WHERE conversation = ?1",
            conversation.bytes,
            kept,
        )
        # Other messages will be given these numbers: one that stayed own would be passed over without being shown.
        self._database.run("DELETE FROM own_number WHERE conversation = ? AND seq > ?", conversation.bytes, kept)
        self._database.run("DELETE FROM own_claim WHERE conversation = ? AND last_seq > ?", conversation.bytes, kept)

    def read_upto(self, conversation: ConversationId) -> int:
        """Return how far the person has read."""
        row = self._database.row("SELECT read_upto FROM conversation WHERE conversation = ?", conversation.bytes)
        return 0 if row is None else row[0]

    def unreported_read(self, conversation: ConversationId) -> int | None:
        """Return the read position if the relay may not know it."""
        row = self._database.row(
            "SELECT read_upto FROM conversation WHERE conversation = ? AND read_upto > read_told", conversation.bytes
        )
        return None if row is None else row[0]

    def mark_read_reported(self, conversation: ConversationId, upto: int) -> None:
        """The relay knows that the person has read so far."""
        self._database.run(
            "UPDATE conversation SET read_told = max(read_told, ?2) WHERE conversation = ?1", conversation.bytes, upto
        )

    def mark_read(self, conversation: ConversationId, upto: int) -> bool:
        """Move the read position; False when it was there already."""
        moved = self._database.run(
            "INSERT INTO conversation (conversation, read_upto) VALUES (?, ?) ON CONFLICT (conversation)"
            " DO UPDATE SET read_upto = excluded.read_upto WHERE read_upto < excluded.read_upto",
            conversation.bytes,
            upto,
        )
        return moved > 0


def _roster_cell(conversation: ConversationId) -> Cell:
    return Cell("conversation", "roster", conversation.bytes)


class Receipts(Table):
    """How far others have received and read a conversation. Numbers and ids only, in the clear."""

    def move(self, conversation: ConversationId, profile: ProfileId, *, delivered: int = 0, read: int = 0) -> bool:
        """Move a profile's positions forward; False when neither moved. Read implies received."""
        moved = self._database.run(
            "INSERT INTO receipt VALUES (?, ?, ?, ?) ON CONFLICT (conversation, profile) DO UPDATE"
            " SET delivered = max(delivered, excluded.delivered), read = max(read, excluded.read)"
            " WHERE delivered < excluded.delivered OR read < excluded.read",
            conversation.bytes,
            profile.bytes,
            max(delivered, read),
            read,
        )
        return moved > 0

    def positions(self, conversation: ConversationId) -> dict[ProfileId, tuple[int, int]]:
        """Return how far each profile has received and read the conversation."""
        rows = self._database.rows(
            "SELECT profile, delivered, read FROM receipt WHERE conversation = ?", conversation.bytes
        )
        return {ProfileId(UUID(bytes=profile)): (delivered, read) for profile, delivered, read in rows}


class OwnNumbers(Table):
    """Which numbers are this device's own: those acked, and those the relay calls own without an ack (claims).

    A relay that hides a message could call its number own; a claim without an ack is therefore a gap.
    """

    def acked(self, conversation: ConversationId, seq: int) -> None:
        """A draft of this device was given this number."""
        self._database.run("INSERT OR IGNORE INTO own_number VALUES (?, ?)", conversation.bytes, seq)

    def has(self, conversation: ConversationId, seq: int) -> bool:
        """Whether an ack gave this number to a draft of this device."""
        row = self._database.row("SELECT 1 FROM own_number WHERE conversation = ? AND seq = ?", conversation.bytes, seq)
        return row is not None

    def add_claim(self, conversation: ConversationId, first: int, last: int) -> None:
        """Note that the relay calls these numbers own. `unexplained` checks it."""
        self._database.run("INSERT OR IGNORE INTO own_claim VALUES (?, ?, ?)", conversation.bytes, first, last)

    def unexplained(self, conversation: ConversationId) -> Sequence[Gap]:
        """Decide every claim: return the numbers in them that no ack named, in order, and forget the claims."""
        # Judged once, when no ack is due any more: before that an own number and a hidden message look the same.
        claims = self._database.rows(
            "SELECT first_seq, last_seq FROM own_claim WHERE conversation = ? ORDER BY first_seq", conversation.bytes
        )
        gaps = [gap for first, last in claims for gap in self._without_acked(conversation, first, last)]
        if claims:
            self._database.run("DELETE FROM own_claim WHERE conversation = ?", conversation.bytes)
        return gaps

    def _without_acked(self, conversation: ConversationId, first: int, last: int) -> Iterator[Gap]:
        acked = self._database.rows(
            "SELECT seq FROM own_number WHERE conversation = ? AND seq BETWEEN ? AND ? ORDER BY seq",
            conversation.bytes,
            first,
            last,
        )
        for (seq,) in [*acked, (last + 1,)]:
            if first < seq:
                yield Gap(conversation, first, seq - 1, GapReason.OWN)
            first = seq + 1
