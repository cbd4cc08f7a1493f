"""Which numbers are this device's own: those it was given in an ack, and those that the relay calls so without one."""

from collections.abc import Iterator, Sequence

from varde.happenings import Gap
from varde.store.shelf import Shelf
from varde_contract.frames import GapReason
from varde_contract.ids import ConversationId


class OwnNumbers(Shelf):
    """The acked numbers, and the claims that are not decided yet."""

    def acked(self, conversation: ConversationId, seq: int) -> None:
        """A draft of this device was given this number."""
        self._database.run("INSERT OR IGNORE INTO own_number VALUES (?, ?)", conversation.bytes, seq)

    def has(self, conversation: ConversationId, seq: int) -> bool:
        """Whether an ack gave this number to a draft of this device."""
        row = self._database.row("SELECT 1 FROM own_number WHERE conversation = ? AND seq = ?", conversation.bytes, seq)
        return row is not None

    def claim(self, conversation: ConversationId, first: int, last: int) -> None:
        """The relay calls these numbers own. `unexplained` judges it."""
        self._database.run("INSERT OR IGNORE INTO own_claim VALUES (?, ?, ?)", conversation.bytes, first, last)

    def unexplained(self, conversation: ConversationId) -> Sequence[Gap]:
        """Decide every claim: return the numbers in them that no ack named, in order, and forget the claims."""
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
