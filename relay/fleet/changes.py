"""The rosters that moved and that nobody has looked at yet: one word per conversation, however often it moved."""

from collections.abc import Mapping

import trio

from varde_contract.frames import ChangeKind
from varde_contract.ids import ConversationId


class RosterChanges:
    """Filled from the bus, emptied by one task."""

    def __init__(self) -> None:
        self._moved: dict[ConversationId, ChangeKind] = {}
        self._relist = False
        self._work = trio.lowlevel.ParkingLot()

    def note(self, conversation: ConversationId, kind: ChangeKind) -> None:
        """A roster moved. What concerns members outweighs what concerns devices."""
        if self._moved.get(conversation) is not ChangeKind.MEMBERSHIP:
            self._moved[conversation] = kind
        self._work.unpark_all()

    def note_unknown(self) -> None:
        """Any roster may have moved, and anybody may have been let in anywhere."""
        self._relist = True
        self._work.unpark_all()

    async def wait(self) -> None:
        """Return when there is something to look at."""
        while not (self._moved or self._relist):
            await self._work.park()  # without a deadline: nothing may ever move

    def take(self) -> tuple[Mapping[ConversationId, ChangeKind], bool]:
        """Return what moved, and whether anything may have."""
        taken = self._moved, self._relist
        self._moved, self._relist = {}, False
        return taken
