"""Verified rosters: from the store, fetched again when the relay says that they changed.

With each come the device lists of its members' accounts, as far as they are new. A sender that is in no roster any more
is found in the lists of its account.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence

import trio

from varde.backoff import Backoff
from varde.crypto.device_lists import Learned
from varde.crypto.trust import Trust
from varde.errors import Busy, ListRollback, Refusal, Unreachable, UntrustedDevice, VardeError
from varde.events import RootKeyChange, RosterChange, TransientEvent, Withheld, at
from varde.rest import Rest
from varde.store import Store
from varde.store.people import PinnedProfile
from varde.transparency import Transparency
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId
from varde_contract.rest.talk import ConversationView, ListHead
from varde_contract.talk import ConversationKind
from varde_contract.transparency.entry import Entry

TRIES = 3
"""Of a roster whose device lists moved on while it was fetched."""


class Rosters:
    """The rosters of this device's conversations."""

    def __init__(
        self, store: Store, rest: Rest, trust: Trust, log: Transparency, publish: Callable[[TransientEvent], None]
    ) -> None:
        self._store = store
        self._rest = rest
        self._trust = trust
        self._log = log
        self._proven: set[tuple[AccountId, int]] = set()
        self._publish = publish
        self._fetching_lists: defaultdict[AccountId, trio.Lock] = defaultdict(trio.Lock)
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

        Raises RootKeyChanged, ListRollback, UntrustedDevice, Refusal, Unreachable; then the roster in the store stays.
        """
        before = self.known(conversation)
        async with self._fetching[conversation]:
            known = self.known(conversation)
            newer = known is not None and before is not None and known.roster_version > before.roster_version
            if known is not None and (newer or (newer_than is not None and known.roster_version > newer_than)):
                return known
            for left in range(TRIES - 1, -1, -1):
                view = await self._rest.conversation(conversation)
                if view.conversation != conversation:
                    # A valid roster of another conversation would have drafts encrypted for the members of that one.
                    raise UntrustedDevice("another conversation was shown than the one asked for")
                try:
                    return await self.accept(view)
                except ListRollback:
                    # Perhaps a list moved on between the roster and the lists: then the next roster knows it.
                    if not left:
                        raise
            raise AssertionError("there is at least one try")

    async def verify_sender(self, conversation: ConversationId, device: DeviceId, profile: ProfileId) -> None:
        """Verify whose device wrote as `profile`: by the roster, or by the lists of its account when it is gone.

        What is verified is stored, so it is fetched once. Raises what `refresh` raises.
        """
        view = await self.refresh(conversation)
        if self._trust.knows(conversation, device, profile):
            return
        if view.kind is not ConversationKind.GROUP:
            raise UntrustedDevice("somebody wrote who is no member of a conversation whose members never change")
        opening = await self._rest.opening(profile)
        if opening.profile != profile:
            raise UntrustedDevice("another profile was shown than the one asked for")
        await self._fetch_lists(opening.account, upto=opening.list_number, profile=profile)
        with self._store.transaction():
            self._trust.pin_profile(profile, PinnedProfile(opening.account, opening.salt))

    async def accept(self, view: ConversationView) -> ConversationView:
        """Verify and store a roster that the API gave, with the lists it needs, and publish what is different."""
        before = self.known(view.conversation)
        if before is not None and before.roster_version > view.roster_version:
            return before
        for head in view.lists:
            if self._trust.lists.missing_from(head) is not None:
                await self._fetch_lists(head.account, upto=head.number)
        with self._store.transaction():
            withheld = self._trust.accept_roster(view)
        self._wanted.pop(view.conversation, None)
        change = _difference(before, view)
        if change is not None:
            self._publish(change)
        if withheld:
            self._publish(Withheld(view.conversation, withheld))
        return view

    async def _fetch_lists(self, account: AccountId, *, upto: int, profile: ProfileId | None = None) -> None:
        """Fetch and verify an account's lists up to a number at least, and publish what they say of its root key."""
        async with self._fetching_lists[account]:
            while (known := self._trust.lists.newest(account)) is None or known.number < upto:
                page = await self._rest.device_lists(account, 1 if known is None else known.number + 1, profile)
                if not page.lists:
                    raise ListRollback("the server shows fewer device lists of an account than it says there are")
                with self._store.transaction():
                    learned = self._trust.lists.accept(account, [each.list for each in page.lists])
                for event in root_key_changes(account, learned):
                    self._publish(event)

    async def prove(self, view: ConversationView) -> ConversationView:
        """Demand that the transparency log holds the lists that a roster rests on; return the roster to encrypt for.

        A list that is on its way there may be used for a minute. Where the log has a newer one, the roster is fetched
        again. Raises UnprovenList, LogForked, ListRollback, and what `refresh` raises.
        """
        self._log.refuse_fork()  # also where every list was proven before: by which of the two histories?
        for left in range(TRIES - 1, -1, -1):
            behind = [head for head in view.lists if await self._prove_list(head) > head.number]
            if not behind:
                return view
            if left:
                view = await self.refresh(view.conversation)
        raise ListRollback("the transparency log has a newer device list of an account than the server shows")

    async def _prove_list(self, head: ListHead) -> int:
        """Return the newest number of the account that the log is known to have."""
        if (head.account, head.number) in self._proven:
            return head.number
        digest = hashlib.sha256(self._store.pins.signed_list(head.account, head.number)).digest()
        try:
            newest = await self._log.verify(Entry(head.account, head.number, digest))
        except (Unreachable, Busy):
            # Talking goes on without the API, but not for longer than the log may take: who hides it proves nothing.
            if not self._log.is_on_its_way(head.account, head.number):
                raise
            newest = None
        if newest == head.number:
            self._proven.add((head.account, head.number))
        return newest or head.number

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


def root_key_changes(account: AccountId, learned: Sequence[Learned]) -> Sequence[RootKeyChange]:
    """Return what to say of an account's root key: announced, or replaced."""
    events = []
    for before, after in learned:
        if before is not None and before.root_key != after.root_key:
            events.append(RootKeyChange(account, None))
        pending = after.pending_root
        if pending is not None and (before is None or before.pending_root != pending):
            events.append(RootKeyChange(account, at(pending.effective_ms)))
    return events


def _difference(before: ConversationView | None, after: ConversationView) -> RosterChange | None:
    if before is None or before.roster_version == after.roster_version:
        return None
    members = {member.profile for member in before.members}, {member.profile for member in after.members}
    devices = {each.device for each in before.devices}, {each.device for each in after.devices}
    return RosterChange(
        after.conversation,
        after.roster_version,
        joined=tuple(sorted(members[1] - members[0])),
        left=tuple(sorted(members[0] - members[1])),
        devices_added=tuple(sorted(devices[1] - devices[0])),
        devices_gone=tuple(sorted(devices[0] - devices[1])),
    )
