"""Sends receipts and typing to listeners, whether they come from this node or from others."""

from collections import deque
from typing import Final, NoReturn, TypeAlias, assert_never

import trio
from msgspec import Struct

from domain.ports import StoreUnavailable
from domain.talk.events import DeliveredMoved, ReadMoved, TypingMoved
from domain.talk.model import Roster
from domain.talk.receipts import Audience, delivered_audience, read_audience, typing_audience
from relay.cache.rosters import Rosters
from relay.delivery.hub import Hub
from varde_contract.frames import DeliveredBy, ReadBy, TypingBy

InConversation: TypeAlias = DeliveredMoved | ReadMoved | TypingMoved

QUEUE: Final = 10_000
"""Events from other nodes that wait. Beyond that, the oldest are dropped: none of them is a message."""


class Notifier:
    """Turns an event into the frame that its audience gets."""

    def __init__(self, hub: Hub, rosters: Rosters) -> None:
        self._hub = hub
        self._rosters = rosters
        self._queue: deque[InConversation] = deque(maxlen=QUEUE)
        self._work = trio.lowlevel.ParkingLot()

    async def notify(self, moved: InConversation) -> None:
        """Send it now. Raises StoreUnavailable. A checkpoint only when the roster has to be fetched."""
        if not self._hub.listeners(moved.conversation):
            return
        roster = await self._rosters.get(moved.conversation)
        if roster is not None:
            self.notify_from(roster, moved)

    def notify_from(self, roster: Roster, moved: InConversation) -> None:
        """Send it now, with the roster at hand."""
        self._hub.send_to_listeners(moved.conversation, _audience(roster, moved), _frame(moved))

    def notify_soon(self, moved: InConversation) -> None:
        """Queue an event from another node."""
        self._queue.append(moved)
        self._work.unpark_all()

    async def run(self) -> NoReturn:
        """Send what is queued, for as long as the node lives."""
        while True:
            while not self._queue:
                await self._work.park()  # without a deadline: nothing may ever move
            try:
                await self.notify(self._queue.popleft())
            except StoreUnavailable:
                self._queue.clear()  # none of it is a message, and it will be old when the database is back


def _audience(roster: Roster, moved: InConversation) -> Audience:
    match moved:
        case DeliveredMoved():
            return delivered_audience(roster, moved.profile)
        case ReadMoved():
            return read_audience(roster, moved.profile)
        case TypingMoved():
            return typing_audience(roster, moved.profile)
        case _:
            assert_never(moved)


def _frame(moved: InConversation) -> Struct:
    match moved:
        case DeliveredMoved():
            return DeliveredBy(moved.conversation, moved.profile, moved.upto)
        case ReadMoved():
            return ReadBy(moved.conversation, moved.profile, moved.upto)
        case TypingMoved():
            return TypingBy(moved.conversation, moved.profile, moved.active)
        case _:
            assert_never(moved)
