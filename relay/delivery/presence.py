"""What profiles show, on its way to those who may see it: the latest of each profile, gathered, told by one task."""

from collections.abc import Callable
from typing import Final, NoReturn

import trio

from domain.talk.events import PresenceMoved
from domain.talk.receipts import presence_audience
from relay.cache.rosters import Rosters
from relay.delivery.hub import Hub
from varde_contract.frames import PresenceOf
from varde_contract.ids import DeviceId, ProfileId

MOST_WAITING: Final = 20_000
"""Profiles. Beyond, others are not shown at all: more than the connections of a node, and none of it is a message."""
SLICE: Final = 32
"""Conversations looked at between two checkpoints: about a millisecond for groups of 16 devices."""


class PresenceNotifier:
    """Of what a profile showed within one pause, only the latest is told: here, and to the other nodes."""

    def __init__(
        self, hub: Hub, rosters: Rosters, *, announce: Callable[[PresenceMoved], None], node: str, pause: float
    ) -> None:
        """`announce` tells the other nodes, `node` is this one's name, `pause` is the seconds between two rounds."""
        self._hub = hub
        self._rosters = rosters
        self._announce = announce
        self._node = node
        self._pause = pause
        self._waiting: dict[ProfileId, PresenceMoved] = {}
        self._work = trio.lowlevel.ParkingLot()
        self._busy = False

    @property
    def idle(self) -> bool:
        """Whether everything was told."""
        return not (self._waiting or self._busy)

    def notify_soon(self, moved: PresenceMoved) -> None:
        """Tell it in its turn, wherever it comes from."""
        if moved.profile in self._waiting or len(self._waiting) < MOST_WAITING:
            self._waiting[moved.profile] = moved
            self._work.unpark_all()

    async def run(self) -> NoReturn:
        """Tell what is gathered, then pause, for as long as the node lives."""
        while True:
            while not self._waiting:
                await self._work.park()  # without a deadline: nobody may ever show anything
            round_, self._waiting = self._waiting, {}
            self._busy = True
            for moved in round_.values():
                await self._show(moved)
            self._busy = False
            await trio.sleep(self._pause)

    async def _show(self, moved: PresenceMoved) -> None:
        if moved.node == self._node:
            self._announce(moved)
        audience = await self._find_audience(moved.profile)
        self._hub.send_to_devices(audience, PresenceOf(moved.profile, moved.state))

    async def _find_audience(self, profile: ProfileId) -> set[DeviceId]:
        """Return, once each, everybody here who shares a conversation with the profile and may see it."""
        # From memory alone: joining fetches the rosters, and what is missed here is not worth a query.
        audience: set[DeviceId] = set()
        for count, conversation in enumerate(self._rosters.containing(profile)):
            if count % SLICE == 0:
                await trio.lowlevel.checkpoint()
            roster = self._rosters.get_nowait(conversation)
            if roster is not None:
                audience |= self._hub.listening(conversation, presence_audience(roster, profile))
        return audience
