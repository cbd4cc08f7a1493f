"""The errands of a connected client: rosters of unknown senders, questions asked again, prekeys filled up."""

from collections.abc import Callable

import trio

from varde.backoff import Backoff
from varde.errors import Busy, Refusal, RootKeyChanged, Unreachable, VardeError
from varde.happenings import Reason
from varde.prekeys import fill_prekeys
from varde.receiver import Receiver
from varde.services import Services
from varde_contract.ids import ConversationId, DeviceId, ProfileId

KEYS_SECONDS = 24 * 60 * 60.0
"""How often prekeys are looked at without being asked: the fallback key grows old."""


class Upkeep:
    """Starts a task for each errand. Implements `varde.receiver.Errands`."""

    def __init__(self, services: Services, nursery: trio.Nursery) -> None:
        self._services = services
        self._nursery = nursery
        self._keys = trio.Event()
        self.receiver = Receiver(services, self)

    def look_up(self, conversation: ConversationId, device: DeviceId, profile: ProfileId) -> None:
        """Find out about a sender in the background, then let the receiver judge again."""
        self._nursery.start_soon(self._look_up, conversation, device, profile)

    def later(self, after_ms: int, action: Callable[[], None]) -> None:
        """Do something in a while."""
        self._nursery.start_soon(self._later, after_ms, action)

    def fill_keys(self) -> None:
        """Look at the prekeys now."""
        self._keys.set()

    async def run_keys(self) -> None:
        """Look at the prekeys at the start, when few are left, and once a day."""
        backoff = Backoff()
        while True:
            self._keys = trio.Event()
            try:
                await fill_prekeys(self._services.store, self._services.rest, self._services.me.device)
                backoff.reset()
            except (Unreachable, Busy):
                await trio.sleep(backoff.next())
                continue
            except Refusal:
                pass  # a session that is over ends the client by way of the link
            with trio.move_on_after(KEYS_SECONDS):
                await self._keys.wait()

    async def _look_up(self, conversation: ConversationId, device: DeviceId, profile: ProfileId) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._services.rosters.meet(conversation, device, profile)
            except (Unreachable, Busy):
                await trio.sleep(backoff.next())
                continue
            except RootKeyChanged:
                self.receiver.release(conversation, device, profile, Reason.ROOT_KEY_CHANGED)
            except VardeError:
                self.receiver.release(conversation, device, profile)
            else:
                self.receiver.release(conversation, device, profile)
            return

    async def _later(self, after_ms: int, action: Callable[[], None]) -> None:
        await trio.sleep(after_ms / 1_000)
        action()
