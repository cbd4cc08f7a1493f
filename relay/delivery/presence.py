"""Sends presence to those who may see it: the latest state of each profile, gathered for a pause, by one task."""

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
"""Profiles. Presence of further ones is dropped: this is more than a node has connections, and it is no message."""
SLICE: Final = 32
"""Conversations looked at between two checkpoints: about a millisecond for groups of 16 devices."""


class PresenceNotifier:
    """Sends the latest state that a profile had within each pause, to listeners here and to the other nodes."""

    def __init__(
        self, hub: Hub, rosters: Rosters, *, publish: Callable[[PresenceMoved], None], node: str, pause: float
    ) -> None:
        """`publish` tells the other nodes, `node` is this one's name, `pause` is the seconds between two rounds."""
        self._hub = hub
        self._rosters = rosters
        self._publish = publish
        self._node = node
        self._pause = pause
        self._waiting: dict[ProfileId, PresenceMoved] = {}
        self._work = trio.lowlevel.ParkingLot()
        self._busy = False

    @property
    def idle(self) -> bool:
        """Whether nothing waits."""
        return not (self._waiting or self._busy)

    def notify_soon(self, moved: PresenceMoved) -> None:
        """Queue an event, from this node or another one."""
        if moved.profile in self._waiting or len(self._waiting) < MOST_WAITING:
            self._waiting[moved.profile] = moved
            self._work.unpark_all()

    async def run(self) -> NoReturn:
        """Send what has gathered, then pause, for as long as the node lives."""
        while True:
            while not self._waiting:
                await self._work.park()  # without a deadline: nobody may ever show anything
            round_, self._waiting = self._waiting, {}
            self._busy = True
            for moved in round_.values():
                await self._send(moved)
            self._busy = False
            await trio.sleep(self._pause)

    async def _send(self, moved: PresenceMoved) -> None:
        if moved.node == self._node:
            self._publish(moved)
        audience = await self._find_audience(moved.profile)
        self._hub.send_to_devices(audience, PresenceOf(moved.profile, moved.state))

    async def _find_audience(self, profile: ProfileId) -> set[DeviceId]:
        """Return the devices here that share a conversation with the profile and may see it, once each."""
        # From cached rosters only: joining fetches them, and presence is not worth a query.
        audience: set[DeviceId] = set()
        for count, conversation in enumerate(self._rosters.containing(profile)):
            if count % SLICE == 0:
                await trio.lowlevel.checkpoint()
            roster = self._rosters.get_nowait(conversation)
            if roster is not None:
                audience |= self._hub.listening(conversation, presence_audience(roster, profile))
        return audience
