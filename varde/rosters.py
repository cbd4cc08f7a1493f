"""Verified rosters and the chains that prove them: from the store, fetched again when the relay says that they changed.

With each come the device lists of its members' accounts, as far as they are new. A sender that is in no roster any more
is found in the lists of its account.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

import trio

from varde.backoff import Backoff
from varde.chains import Chains, Numbered
from varde.changes import root_key_changes, roster_change
from varde.crypto.trust import Trust, UnknownSigner
from varde.errors import Busy, ListRollback, NotFound, Refusal, Unreachable, UntrustedDevice, VardeError
from varde.events import TransientEvent, Withheld
from varde.lost_records import LostRecords
from varde.rest import Rest
from varde.store import Store
from varde.store.people import NamedAccount, PinnedList, PinnedProfile
from varde.transparency import Transparency
from varde_contract.errors import PeerFault
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId
from varde_contract.membership_statements import Statement, UnknownStatement
from varde_contract.rest.people import ProfileOpening
from varde_contract.rest.talk import STATEMENTS_PER_PAGE, ConversationView, ListHead, StatementView
from varde_contract.transparency.entry import Entry

_OTHER = "nothing was sent; ask them over another way: either what you were given is forged, or the server lies"

TRIES = 3
"""Of a roster whose device lists moved on while it was fetched."""


class Rosters:
    """The rosters of this device's conversations."""

    def __init__(
        self,
        store: Store,
        rest: Rest,
        trust: Trust,
        chains: Chains,
        log: Transparency,
        lost: LostRecords,
        publish: Callable[[TransientEvent], None],
    ) -> None:
        self._store = store
        self._rest = rest
        self._trust = trust
        self.lists = trust.lists
        self._log = log
        self._lost = lost
        self._chains = chains
        self._listed: dict[ConversationId, tuple[int, int]] = {}
        """Rosters whose lists were the newest here, by their version and the revision of the pins."""
        self._publish = publish
        self._fetching_lists: defaultdict[AccountId, trio.Lock] = defaultdict(trio.Lock)
        self._fetching: defaultdict[ConversationId, trio.Lock] = defaultdict(trio.Lock)
        self._wanted: dict[ConversationId, int] = {}
        # Without a bound: whoever sends is in the middle of a transaction and cannot wait.
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
            # Many wait for one lock when a roster moves: the first of them has fetched it for all.
            newer = known is not None and before is not None and known.roster_version > before.roster_version
            if known is not None and (newer or (newer_than is not None and known.roster_version > newer_than)):
                return known
            for left in range(TRIES - 1, -1, -1):
                try:
                    return await self.accept(await self._fetch(conversation))
                except ListRollback:
                    # Perhaps a list moved on between the roster and the lists: then the next roster knows it.
                    if not left:
                        raise
            raise AssertionError("there is at least one try")

    async def catch_up(self, conversation: ConversationId) -> None:
        """Verify the chain up to its head, also where this account is only invited. Raises what `refresh` raises."""
        async with self._fetching[conversation]:
            await self._fetch(conversation)

    async def _fetch(self, conversation: ConversationId) -> ConversationView:
        """Return the roster, with the chain verified up to the very statement that it was true after.

        A server that has lost something is given it back, once: who loses it again shows an older one and no mishap.
        """
        may_put_back = True
        while True:
            before = self._chains.number(conversation)
            try:
                view = await self._rest.conversation(conversation)
            except NotFound:
                if not may_put_back or not await self._lost.put_back_chain(conversation, None):
                    raise
                may_put_back = False
                continue
            if view.conversation != conversation:
                # A valid roster of another conversation would have drafts encrypted for the members of that one.
                raise UntrustedDevice("another conversation was shown than the one asked for")
            if may_put_back and await self._put_back(view):
                may_put_back = False
                continue
            if view.chain is None or view.chain.number < before:
                raise UntrustedDevice("the server shows an older membership than it did before")
            if view.chain.number > before:
                await self._learn_members(view)
                await self._fetch_chain(conversation)
            chain = self._store.chains.find(conversation)
            if chain is None or chain.blocked or chain.state.number == view.chain.number:
                if chain is not None and not chain.blocked and chain.state.head != view.chain.hash:
                    raise UntrustedDevice("the server shows another chain of statements than it did before")
                return view
            # Statements came in meanwhile: a roster that is older than the chain proves nothing.

    async def _put_back(self, view: ConversationView) -> bool:
        """Whether something was put back that the server had lost: lists first, which statements may name."""
        lists = [head for head in view.lists if await self._lost.put_back_lists(head)]
        behind = view.chain is not None and view.chain.number < self._chains.number(view.conversation)
        return bool(behind and await self._lost.put_back_chain(view.conversation, view.chain)) or bool(lists)

    async def _learn_members(self, view: ConversationView) -> None:
        """Take in whose the named profiles are, to verify statements with: nobody is a member because of it."""
        await self._fetch_heads(view)
        with self._store.transaction():
            for member in view.members:
                self._trust.pin_profile(member.profile, PinnedProfile(member.account, member.salt))

    async def _fetch_heads(self, view: ConversationView) -> None:
        for head in view.lists:
            if self._trust.lists.missing_from(head) is not None:
                await self._fetch_lists(head.account, upto=head.number)

    async def _fetch_chain(self, conversation: ConversationId) -> None:
        known = self._chains.number(conversation)
        expected = self._chains.expected(conversation) if known < 0 else None
        # The statement that a link names may be older than the last snapshot, which it does not vouch for.
        holds = None if expected is None else expected.number
        statements: list[StatementView] = []
        while not statements or len(statements) % STATEMENTS_PER_PAGE == 0:
            first = statements[-1].number + 1 if statements else known + 1
            page = (await self._rest.statements(conversation, first, holds)).statements
            statements += page
            if not page:
                break
        numbered = [Numbered(each.seq, each.signed) for each in statements]
        while True:
            try:
                with self._store.transaction():
                    if self._store.chains.find(conversation) is None:
                        state = statements[0].state if statements else None
                        self._chains.begin(conversation, numbered, state)
                    else:
                        self._take_all(conversation, numbered)
            except UnknownSigner as unknown:
                await self._learn_signer(unknown.statement)
            except PeerFault as fault:
                raise UntrustedDevice(f"who is in the conversation is not proven: {fault}") from None
            else:
                return

    def _take_all(self, conversation: ConversationId, statements: Sequence[Numbered]) -> None:
        for each in statements:
            try:
                if not self._chains.take(conversation, each):
                    raise UntrustedDevice("a statement about the members is left out")
            except UnknownStatement:
                self._chains.block(conversation)
                return

    async def verify_sender(self, conversation: ConversationId, device: DeviceId, profile: ProfileId) -> None:
        """Verify whose device wrote as `profile`: by the roster, or by the lists of its account when it is gone.

        What is verified is stored, so it is fetched once. Raises what `refresh` raises.
        """
        await self.refresh(conversation)
        if self._trust.knows(conversation, device, profile):
            return
        chain = self._store.chains.find(conversation)
        if chain is None or profile not in chain.past:
            raise UntrustedDevice("somebody wrote who never was a member")
        await self.learn_profile(profile)

    async def learn_profile(self, profile: ProfileId, named: NamedAccount | None = None) -> ProfileOpening:
        """Fetch and pin whose a profile is, with its account's device lists. Raises what `refresh` raises.

        What a link or a contact card has `named` is held against it: UntrustedDevice for another account or root key,
        and nothing of it is kept.
        """
        opening = await self._rest.opening(profile)
        if opening.profile != profile:
            raise UntrustedDevice("another profile was shown than the one asked for")
        pinned = PinnedProfile(opening.account, opening.salt)
        if named is not None:
            await self._learn_named(profile, pinned, named, upto=opening.list_number)
            return opening
        await self._fetch_lists(opening.account, upto=opening.list_number, profile=profile)
        with self._store.transaction():
            self._trust.pin_profile(profile, pinned)
        return opening

    async def _learn_named(self, profile: ProfileId, pinned: PinnedProfile, named: NamedAccount, *, upto: int) -> None:
        account, root_hash = named
        if pinned.account != account:
            raise UntrustedDevice("the server shows another account than the one that was named", advice=_OTHER)
        async with self._fetching_lists[account]:
            known, fetched = self._trust.lists.newest(account), list[bytes]()
            number = 0 if known is None else known.number
            while number < upto:
                page = (await self._rest.device_lists(account, number + 1, profile)).lists
                if not page or page[-1].number <= number:
                    raise ListRollback("the server shows fewer device lists of an account than it says there are")
                number = page[-1].number
                fetched += [each.list for each in page]
            # In one transaction: of an account that is somebody else's not even the first list may stay.
            with self._store.transaction():
                learned = self._trust.lists.accept(account, fetched)
                # Of any of its lists: a root key that was replaced has signed its successor, so whoever has the one
                # that was named made all of them.
                if root_hash not in self._trust.lists.root_hashes(account):
                    raise UntrustedDevice("the account has another root key than the one that was named", advice=_OTHER)
                self._trust.pin_profile(profile, pinned)
        for event in root_key_changes(account, learned):
            self._publish(event)

    async def _learn_signer(self, statement: Statement) -> None:
        opening = await self.learn_profile(statement.profile)
        if opening.account != statement.account or opening.list_number < statement.list_number:
            raise UntrustedDevice("a statement names a device list that its account does not have")

    async def accept(self, view: ConversationView) -> ConversationView:
        """Verify and store a roster that the API gave, with the lists it needs, and publish what is different."""
        before = self.known(view.conversation)
        # Two answers may overtake each other. The older one is neither used nor held against the server.
        if before is not None and before.roster_version > view.roster_version:
            return before
        await self._fetch_heads(view)
        with self._store.transaction():
            withheld = self._trust.accept_roster(view)
        self._wanted.pop(view.conversation, None)
        change = roster_change(before, view)
        if change is not None:
            self._publish(change)
        chain = self._store.chains.find(view.conversation)
        served = {member.profile for member in view.members}
        profiles = () if chain is None else tuple(sorted(chain.state.accepted.keys() - served))
        if withheld or profiles:
            self._publish(Withheld(view.conversation, withheld, profiles))
        return view

    async def learn_lists(self, conversation: ConversationId, accounts: AbstractSet[AccountId]) -> frozenset[AccountId]:
        """Fetch the newest lists of a conversation's accounts, also of those that are gone. Raises what `refresh` does.

        Returns those of `accounts` that are gone and that the server shows nothing of any more.
        """
        view = await self.refresh(conversation)
        gone, unknown = accounts - {head.account for head in view.lists}, set()
        chain = self._store.chains.find(conversation)
        for profile, account in {} if chain is None else chain.past.items():
            if account in gone:
                try:
                    await self._fetch_lists(account, upto=None, profile=profile)
                except NotFound:
                    unknown.add(account)
        return frozenset(unknown)

    async def _fetch_lists(self, account: AccountId, *, upto: int | None, profile: ProfileId | None = None) -> None:
        """Fetch and verify an account's lists up to a number at least, and publish what they say of its root key.

        Without a number, as many as there are.
        """
        # One fetch for an account at a time: two conversations would both judge the same list as the next.
        async with self._fetching_lists[account]:
            while (known := self._trust.lists.newest(account)) is None or upto is None or known.number < upto:
                page = await self._rest.device_lists(account, 1 if known is None else known.number + 1, profile)
                if not page.lists and upto is None:
                    return
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
        # Also where every list was proven before: by which of two histories?
        await self._log.demand_witnesses()
        for left in range(TRIES - 1, -1, -1):
            behind = [head for head in view.lists if await self._prove_list(head) > head.number]
            if not behind:
                return view
            if left:
                view = await self.refresh(view.conversation)
        raise ListRollback("the transparency log has a newer device list of an account than the server shows")

    async def prove_lists(self, *accounts: AccountId) -> tuple[ListHead, ...]:
        """Demand that the log holds the newest known lists of these accounts, and return them. Raises as `prove`.

        It is asked now, whatever was proven before: first words are said once, and nobody judges for which lists.
        """
        await self._log.demand_witnesses()
        heads = []
        for account in accounts:
            pinned = self._store.pins.newest(account)
            if pinned is None:
                raise ListRollback("no device list of an account is known")
            heads.append(ListHead(account, pinned.number, pinned.hash))
            if await self._prove_list(heads[-1], again=True) > pinned.number:
                raise ListRollback("the transparency log has a newer device list of an account than the server shows")
        return tuple(heads)

    async def _prove_list(self, head: ListHead, *, again: bool = False) -> int:
        """Return the newest number of the account that the log is known to have."""
        if self._log.is_good(head.account, head.number) and not again:
            return head.number
        digest = hashlib.sha256(self._store.pins.signed_list(head.account, head.number)).digest()
        try:
            newest = await self._log.verify(Entry(head.account, head.number, digest), again=again)
        except (Unreachable, Busy):
            # Talking goes on without the API, but not for longer than the log may take: who hides it proves nothing.
            if not self._log.is_on_its_way(head.account, head.number):
                raise
            newest = None
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
            # Fetched since, for a message or for an earlier word of the relay.
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
        wanted = self._wanted.get(known.conversation, 0)
        return wanted > known.roster_version or not self.is_current(known)

    def is_current(self, view: ConversationView) -> bool:
        """Whether no statement and no device list came in since the roster was verified.

        A list may come with the roster of another conversation, and say that a device is gone.
        """
        return (
            view.chain is not None
            and view.chain.number == self._chains.number(view.conversation)
            and self._has_newest_lists(view)
        )

    def _has_newest_lists(self, view: ConversationView) -> bool:
        revision = self._store.pins.revision
        # A look at every pin for every message would cost a room of a thousand more than the encryption.
        if self._listed.get(view.conversation) != (view.roster_version, revision):
            heads = ((self._store.pins.newest(head.account), PinnedList(head.number, head.hash)) for head in view.lists)
            if any(pinned != named for pinned, named in heads):
                return False
            self._listed[view.conversation] = view.roster_version, revision
        return True
