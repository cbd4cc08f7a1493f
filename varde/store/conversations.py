"""Conversations as this device knows them: the verified roster, how far it has taken in, how far a person has read."""

from collections.abc import Sequence
from uuid import UUID

from varde.store.sealing import Place
from varde.store.shelf import Shelf
from varde_contract.ids import ConversationId
from varde_contract.rest.conversations import ConversationView


class Conversations(Shelf):
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
        return self._open(_roster(conversation), row[0], ConversationView)

    def put_roster(self, view: ConversationView) -> None:
        """Keep a roster that was verified."""
        self._database.run(
            "INSERT INTO conversation (conversation, roster) VALUES (?, ?)"
            " ON CONFLICT (conversation) DO UPDATE SET roster = excluded.roster",
            view.conversation.bytes,
            self._close(_roster(view.conversation), view),
        )

    def upto(self, conversation: ConversationId) -> int | None:
        """Return the last number taken in, None before the relay named the first."""
        row = self._database.row("SELECT upto FROM conversation WHERE conversation = ?", conversation.bytes)
        return None if row is None else row[0]

    def move(self, conversation: ConversationId, upto: int) -> None:
        """Take in the numbers up to and with `upto`."""
        self._database.run(
            "INSERT INTO conversation (conversation, upto) VALUES (?, ?) ON CONFLICT (conversation)"
            " DO UPDATE SET upto = max(ifnull(upto, 0), excluded.upto)",
            conversation.bytes,
            upto,
        )

    def read_upto(self, conversation: ConversationId) -> int:
        """Return how far the person has read."""
        row = self._database.row("SELECT read_upto FROM conversation WHERE conversation = ?", conversation.bytes)
        return 0 if row is None else row[0]

    def read_to_tell(self, conversation: ConversationId) -> int | None:
        """Return the read position if the relay may not have heard of it."""
        row = self._database.row(
            "SELECT read_upto FROM conversation WHERE conversation = ? AND read_upto > read_told", conversation.bytes
        )
        return None if row is None else row[0]

    def read_heard(self, conversation: ConversationId, upto: int) -> None:
        """The relay has said that the person has read so far."""
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


def _roster(conversation: ConversationId) -> Place:
    return Place("conversation", "roster", conversation.bytes)
