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
from varde_contract.talk import PresenceState

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
        self._shown_by: dict[str, set[ProfileId]] = {}
        """What other nodes show to somebody here, by node."""
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

    def forget_node(self, node: str) -> None:
        """Take what a node that is gone has shown as offline, unless another one shows it by now."""
        for profile in self._shown_by.pop(node, ()):
            self.notify_soon(PresenceMoved(node, profile, PresenceState.OFFLINE))

    async def run(self) -> NoReturn:
        """Send what has gathered, then pause, for as long as the node lives."""
        while True:
            while not self._waiting:
                await self._work.park()  # without a deadline: nobody may ever show anything
            # Taken out before the first checkpoint: a state that comes meanwhile is newer, and belongs to the next
            # round.
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
        self._note_shown(moved, seen=bool(audience))
        # A device that changes nodes is shown by the new one before the old one says that it has gone.
        if moved.state is PresenceState.OFFLINE and self._is_shown_beside(moved):
            return
        self._hub.send_to_devices(audience, PresenceOf(moved.profile, moved.state))

    def _note_shown(self, moved: PresenceMoved, *, seen: bool) -> None:
        """Note what another node shows, if somebody here sees it."""
        if moved.node == self._node:
            return
        if moved.state is PresenceState.OFFLINE:
            self._shown_by.get(moved.node, set()).discard(moved.profile)
        elif seen:
            self._shown_by.setdefault(moved.node, set()).add(moved.profile)

    def _is_shown_beside(self, moved: PresenceMoved) -> bool:
        """Whether another node than the event's shows the profile."""
        if moved.node != self._node and self._hub.shows(moved.profile):
            return True
        return any(moved.profile in shown for node, shown in self._shown_by.items() if node != moved.node)

    async def _find_audience(self, profile: ProfileId) -> set[DeviceId]:
        """Return the devices here that share a conversation with the profile and may see it, once each."""
        # From cached rosters only: joining fetches them, and presence is not worth a query.
        audience: set[DeviceId] = set()
        for count, conversation in enumerate(self._rosters.containing(profile)):
            if count % SLICE == 0:
                await trio.lowlevel.checkpoint()
            roster = self._rosters.get_nowait(conversation)
            # It may have been dropped from the cache between two slices.
            if roster is not None:
                audience |= self._hub.listening(conversation, presence_audience(roster, profile))
        return audience
