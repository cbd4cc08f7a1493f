"""Verified rosters: from the store, fetched again when the relay says that they changed.

A device that wrote and is in no roster any more is fetched alone, so that what it wrote can be read.
"""

from collections import defaultdict
from collections.abc import Callable

import trio

from varde.backoff import Backoff
from varde.crypto.certificates import Trust
from varde.errors import Busy, Refusal, Unreachable, UntrustedDevice, VardeError
from varde.events import RosterChange
from varde.rest import Rest
from varde.store import Store
from varde_contract.ids import ConversationId, DeviceId, ProfileId
from varde_contract.rest.talk import ConversationView


class Rosters:
    """The rosters of this device's conversations."""

    def __init__(self, store: Store, rest: Rest, trust: Trust, publish: Callable[[RosterChange], None]) -> None:
        self._store = store
        self._rest = rest
        self._trust = trust
        self._publish = publish
        self._fetching: defaultdict[ConversationId, trio.Lock] = defaultdict(trio.Lock)
        self._wanted: dict[ConversationId, int] = {}
        self._send_stale, self._receive_stale = trio.open_memory_channel[ConversationId](float("inf"))

    def known(self, conversation: ConversationId) -> ConversationView | None:
        """Return the roster in the store, however old."""
        return self._store.conversations.roster(conversation)

    async def current(self, conversation: ConversationId) -> ConversationView:
        """Return the roster, fetched when none is known or the relay named a newer version."""
        known = self.known(conversation)
        if known is not None and not self._is_stale(known):
            return known
        return await self.refresh(conversation)

    async def refresh(self, conversation: ConversationId, *, newer_than: int | None = None) -> ConversationView:
        """Fetch the roster, unless somebody else just fetched one newer than `newer_than`.

        Raises RootKeyChanged, UntrustedDevice, Refusal, Unreachable; the roster in the store then stays as it is.
        """
        before = self.known(conversation)
        async with self._fetching[conversation]:
            known = self.known(conversation)
            newer = known is not None and before is not None and known.roster_version > before.roster_version
            if known is not None and (newer or (newer_than is not None and known.roster_version > newer_than)):
                return known
            view = await self._rest.conversation(conversation)
            if view.conversation != conversation:
                # A valid roster of another conversation would have drafts encrypted for the members of that one.
                raise UntrustedDevice("another conversation was shown than the one asked for")
            return self.accept(view)

    async def verify_sender(self, conversation: ConversationId, device: DeviceId, profile: ProfileId) -> None:
        """Verify whose device wrote as `profile`: from the roster, or by fetching the one device when it is gone.

        What is verified is stored, so it is fetched once. Raises what `refresh` raises.
        """
        await self.refresh(conversation)
        if not self._trust.knows(conversation, device, profile):
            view = await self._rest.sender(conversation, device)
            with self._store.transaction():
                self._trust.accept_sender(conversation, device, profile, view)

    def accept(self, view: ConversationView) -> ConversationView:
        """Verify and store a roster that the API gave, and publish what is different."""
        before = self.known(view.conversation)
        if before is not None and before.roster_version > view.roster_version:
            return before
        with self._store.transaction():
            self._trust.accept_roster(view)
        self._wanted.pop(view.conversation, None)
        change = _difference(before, view)
        if change is not None:
            self._publish(change)
        return view

    def note_version(self, conversation: ConversationId, version: int) -> None:
        """The relay says that the roster is at `version`: it is fetched in the background, or before the next send."""
        known = self.known(conversation)
        if known is None or known.roster_version < version:
            self._wanted[conversation] = max(version, self._wanted.get(conversation, 0))
            self._send_stale.send_nowait(conversation)

    async def run(self) -> None:
        """Fetch stale rosters, so that devices are known before their first message comes."""
        backoff = Backoff()
        async for conversation in self._receive_stale:
            if conversation not in self._wanted:
                continue
            try:
                await self.current(conversation)
                backoff.reset()
            except (Unreachable, Busy):
                await trio.sleep(backoff.next())
                self._send_stale.send_nowait(conversation)
            except Refusal:
                self._wanted.pop(conversation, None)  # no longer a member: the next send raises that
            except VardeError:
                pass  # it stays stale: the next send tries again, and raises to a caller who can judge it

    def _is_stale(self, known: ConversationView) -> bool:
        return self._wanted.get(known.conversation, 0) > known.roster_version


def _difference(before: ConversationView | None, after: ConversationView) -> RosterChange | None:
    if before is None or before.roster_version == after.roster_version:
        return None
    members = {member.profile for member in before.members}, {member.profile for member in after.members}
    devices = {each.certificate.device for each in before.devices}, {each.certificate.device for each in after.devices}
    return RosterChange(
        after.conversation,
        after.roster_version,
        joined=tuple(sorted(members[1] - members[0])),
        left=tuple(sorted(members[0] - members[1])),
        devices_added=tuple(sorted(devices[1] - devices[0])),
        devices_gone=tuple(sorted(devices[0] - devices[1])),
    )
