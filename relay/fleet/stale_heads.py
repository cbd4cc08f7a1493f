"""The conversations whose head may be higher than this node knows. Filled by the bus, emptied by one task."""

from collections.abc import Sequence

import trio

from relay.delivery.hub import Hub
from varde_contract.ids import ConversationId


class StaleHeads:
    """Conversations to be looked up, each once however often it is noted."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._noted: set[ConversationId] = set()
        self._all = False
        self._work = trio.lowlevel.ParkingLot()

    def note(self, conversations: frozenset[ConversationId] | None) -> None:
        """Have these looked up soon; None for all with a listener here."""
        if conversations is None:
            self._all = True
        else:
            self._noted |= conversations
        self._work.unpark_all()

    async def wait(self) -> None:
        """Return when there is something to be looked up."""
        while not (self._all or self._noted):
            await self._work.park()  # the caller has a deadline

    def take(self) -> Sequence[ConversationId]:
        """Return what is to be looked up, without those that nobody listens to any more."""
        listened = self._hub.conversations
        taken = sorted(listened if self._all else listened & self._noted)
        self._noted, self._all = set(), False
        return taken
