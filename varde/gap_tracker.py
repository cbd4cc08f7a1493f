"""Gaps in the numbers of each conversation: messages heard of while an earlier one is missing.

One `sync` is on its way for each conversation, so that nothing is asked for twice.
"""

from varde_contract.frames import Sync
from varde_contract.ids import ConversationId
from varde_contract.limits import SYNC_MESSAGES


class GapTracker:
    """The gaps of one connection, and what was asked for. Sans-I/O: it returns the frames to send."""

    def __init__(self) -> None:
        self._heard: dict[ConversationId, int] = {}
        self._requested: dict[ConversationId, int] = {}
        self._held: set[ConversationId] = set()

    def notice(self, conversation: ConversationId, seq: int) -> None:
        """Number `seq` exists, but an earlier one is missing."""
        self._heard[conversation] = max(seq, self._heard.get(conversation, 0))

    def hold(self, conversation: ConversationId) -> None:
        """Ask for nothing until `release`: the next number came, but cannot be stored yet."""
        self._held.add(conversation)

    def release(self, conversation: ConversationId) -> None:
        """The next number can be stored now. What came meanwhile was dropped, so all of it is asked for again."""
        self._held.discard(conversation)
        self._requested.pop(conversation, None)

    def next_sync(self, conversation: ConversationId, upto: int) -> Sync | None:
        """Return what to ask for, now that everything up to `upto` is stored; None when there is nothing to ask."""
        if upto >= self._heard.get(conversation, 0):
            self.drop(conversation)
            return None
        # A held number would come again with every sync, until what it waits for is here.
        if conversation in self._held or upto < self._requested.get(conversation, 0):
            return None
        # What is heard of while this sync is on its way is asked for by the next one.
        self._requested[conversation] = min(upto + SYNC_MESSAGES, self._heard[conversation])
        return Sync(conversation, upto + 1, SYNC_MESSAGES)

    def forget(self, conversation: ConversationId) -> None:
        """The sync was refused for now: it may be sent again."""
        self._requested.pop(conversation, None)

    def drop(self, conversation: ConversationId) -> None:
        """Nothing can be had: ask for nothing until another number is heard of."""
        self._heard.pop(conversation, None)
        self._requested.pop(conversation, None)

    def clear(self) -> None:
        """The connection is lost: the next one begins where this device had confirmed."""
        self._heard.clear()
        self._requested.clear()
        self._held.clear()
