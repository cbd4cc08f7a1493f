"""Chains of statements that are fetched, and the messages whose senders had seen more of them than this device.

One fetch is on its way for each conversation. None is made twice for the same number: a chain that stays unproven must
not cost a request for each message.
"""

from typing import NamedTuple

from varde_contract.envelope import ChainHead
from varde_contract.ids import ConversationId, DeviceId


class Ahead(NamedTuple):
    """A message whose sender had seen a statement that is not here."""

    seq: int
    device: DeviceId
    head: ChainHead


class ChainCatchUp:
    """The fetches of one client, for as long as it lives. Sans-I/O: it says when to begin one."""

    def __init__(self) -> None:
        self._fetching: set[ConversationId] = set()
        self._asked: dict[ConversationId, int] = {}
        self._ahead: dict[ConversationId, Ahead] = {}

    def begin(self, conversation: ConversationId, number: int) -> bool:
        """Note that statement `number` is wanted; return whether to fetch now, False while a fetch is on its way."""
        if conversation in self._fetching:
            return False
        # The number that began the fetch, not the highest wanted: what came during it may not be in the answer.
        self._fetching.add(conversation)
        self._asked[conversation] = number
        return True

    def has_answer(self, conversation: ConversationId, number: int) -> bool:
        """Whether a fetch for this statement, or a later one, came back: another would bring no more."""
        return conversation not in self._fetching and self._asked.get(conversation, -1) >= number

    def note(self, conversation: ConversationId, ahead: Ahead) -> bool:
        """A message names a statement that is not here: judge it when the fetch is back. Return whether to fetch now.

        Nothing is noted where that statement was fetched for already, or is.
        """
        if self._asked.get(conversation, -1) >= ahead.head.number:
            return False
        self._ahead[conversation] = ahead
        return self.begin(conversation, ahead.head.number)

    def end(self, conversation: ConversationId) -> Ahead | None:
        """The fetch is back. Return the message that is to be judged now."""
        self._fetching.discard(conversation)
        return self._ahead.pop(conversation, None)
