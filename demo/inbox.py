"""What one connected device was told, in order, and a way to wait for it.

It judges nothing: what should have come is for the chapters to say.
"""

from collections.abc import Callable
from typing import TypeVar

import trio

from varde.errors import VardeError
from varde.events import Event, Message
from varde_contract.ids import ConversationId

T = TypeVar("T")


class Inbox:
    """Everything that `Client.events` handed out since the device came online."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ended: VardeError | None = None
        self._changed = trio.Event()

    def put(self, event: Event) -> None:
        """Take in what happened."""
        self.events.append(event)
        self._stir()

    def end(self, why: VardeError) -> None:
        """The client came to its end."""
        self.ended = why
        self._stir()

    def of(self, kind: type[T]) -> list[T]:
        """What came of one kind."""
        return [each for each in self.events if isinstance(each, kind)]

    def texts(self, conversation: ConversationId) -> list[str]:
        """The texts that came in a conversation, as they came."""
        return [message.text for message in self.of(Message) if message.conversation == conversation]

    async def wait(self, condition: Callable[["Inbox"], bool]) -> None:
        """Wait until the condition holds; the promise around it sets the deadline."""
        while not condition(self):
            await self._changed.wait()

    async def wait_text(self, conversation: ConversationId, text: str) -> None:
        """Wait for this very text."""
        await self.wait(lambda inbox: text in inbox.texts(conversation))

    async def wait_texts(self, conversation: ConversationId, count: int) -> list[str]:
        """Wait for so many messages of a conversation, and return their texts."""
        await self.wait(lambda inbox: len(inbox.texts(conversation)) >= count)
        return self.texts(conversation)

    def _stir(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
