"""Which conversations have a hole: numbers heard of, but not in order.

One `sync` at a time for each conversation, so that a hole is never asked for twice.
"""

from varde_contract.frames import Sync
from varde_contract.ids import ConversationId
from varde_contract.limits import SYNC_MESSAGES


class Holes:
    """What is known of one connection's holes."""

    def __init__(self) -> None:
        self._heard: dict[ConversationId, int] = {}
        self._asked: dict[ConversationId, int] = {}
        self._held: set[ConversationId] = set()

    def notice(self, conversation: ConversationId, seq: int) -> None:
        """Number `seq` was said, but an earlier one is missing."""
        self._heard[conversation] = max(seq, self._heard.get(conversation, 0))

    def hold(self, conversation: ConversationId) -> None:
        """Ask for nothing until `release`: the next number cannot be taken in yet."""
        self._held.add(conversation)

    def release(self, conversation: ConversationId) -> None:
        """The next number can be taken in now. What came meanwhile was not kept: whatever was asked for, ask again."""
        self._held.discard(conversation)
        self._asked.pop(conversation, None)

    def next_sync(self, conversation: ConversationId, upto: int) -> Sync | None:
        """Return what to ask for, now that everything up to `upto` is taken in; None when nothing is to be asked."""
        if upto >= self._heard.get(conversation, 0):
            self.drop(conversation)
            return None
        if conversation in self._held or upto < self._asked.get(conversation, 0):
            return None
        self._asked[conversation] = min(upto + SYNC_MESSAGES, self._heard[conversation])
        return Sync(conversation, upto + 1, SYNC_MESSAGES)

    def forget(self, conversation: ConversationId) -> None:
        """The question was refused: it may be asked again."""
        self._asked.pop(conversation, None)

    def drop(self, conversation: ConversationId) -> None:
        """There is nothing to be had: ask for nothing until another number is heard of."""
        self._heard.pop(conversation, None)
        self._asked.pop(conversation, None)

    def clear(self) -> None:
        """The connection is gone: the next one begins where this device had confirmed."""
        self._heard.clear()
        self._asked.clear()
        self._held.clear()
