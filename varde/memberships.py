"""What this device says about who is in a conversation: composed, judged here first, signed, and put into the chain."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress

from varde.chains import Chains, Numbered
from varde.clock import fresh_id, now_ms
from varde.errors import Busy, NotFound, Refusal, RootKeyChanged, UntrustedDevice
from varde.events import Request
from varde.first_words import FirstContact
from varde.identity import Identity
from varde.outbox import Outbox
from varde.own_list import OwnList
from varde.rest import Rest
from varde.rosters import Rosters
from varde.store import Store
from varde_contract import membership as m
from varde_contract import membership_statements as s
from varde_contract.ids import AccountId, ConversationId, ProfileId
from varde_contract.links import SECRET_BYTES, GroupLink, public_key, via_link
from varde_contract.refusals import RefusalCode
from varde_contract.rest.people import ProfileOpening
from varde_contract.rest.talk import ChainHead, LinkProof, NewStatements
from varde_contract.talk import ConversationKind, Role

NONCE_BYTES = 16
TRIES = 2
"""The first statement for a number wins. Who loses reads on, and tries once more: then it is for a person to look."""

Say = Callable[[m.Head], s.AnyStatement]


class Memberships:
    """The statements of this device."""

    def __init__(
        self,
        store: Store,
        rest: Rest,
        rosters: Rosters,
        chains: Chains,
        first_contact: FirstContact,
        outbox: Outbox,
        own_list: OwnList,
        identity: Identity,
    ) -> None:
        self._store = store
        self._rest = rest
        self._rosters = rosters
        self._chains = chains
        self._first_contact = first_contact
        self._outbox = outbox
        self._own_list = own_list
        self._identity = identity

    async def open(self, kind: ConversationKind, mine: ProfileId, invited: Sequence[ProfileId]) -> ConversationId:
        """Create a conversation and invite into it; a dm or self that is there already is returned instead.

        Who is there already as invited accepts: to open a conversation with somebody is to want it.
        """
        # Before anything is signed: an invitation says for ever which account a profile is of.
        owners = [await self._rosters.learn_profile(each) for each in dict.fromkeys(invited)]
        try:
            conversation = await self._create(kind, mine, owners)
        except Refusal as refusal:
            if refusal.refusal is not RefusalCode.STALE_CHAIN:
                raise
            await self._own_list.refresh()  # another device of this account came or went meanwhile
            conversation = await self._create(kind, mine, owners)
        await self._rosters.catch_up(conversation)
        await self._check_opened(conversation, kind, {mine, *invited})
        return conversation

    async def _create(
        self, kind: ConversationKind, mine: ProfileId, owners: Sequence[ProfileOpening]
    ) -> ConversationId:
        conversation = ConversationId(fresh_id())
        signer = self._chains.signer(mine)
        create = s.Create(*m.first_head(conversation, signer, now_ms()), kind, os.urandom(NONCE_BYTES))
        says = [_invitation(owner, Role.MEMBER) for owner in owners]
        first = self._chains.sign(create)
        signed = [first, *self._follow(self._judge(None, first), signer, says)]
        # Before the call, as in `_append`: the relay may be faster with the numbers than the API with its answer.
        with self._store.transaction():
            self._store.chains.set_pending(conversation, pending=True)
        try:
            view = await self._rest.open_conversation(NewStatements(tuple(signed)))
        except Busy:
            # It may be the answer to a repetition whose first try was stored. As with Unreachable, it stays pending
            # until the next process looks, and no number of it is called lost.
            raise
        except Refusal:
            with self._store.transaction():
                self._settle(conversation)
            raise
        with self._store.transaction():
            if view.conversation == conversation:
                # A new log: each statement has the number in it that follows its own.
                self._chains.keep_own(conversation, [Numbered(seq, each) for seq, each in enumerate(signed, start=1)])
            self._settle(conversation)
        return view.conversation

    async def _check_opened(self, conversation: ConversationId, kind: ConversationKind, wanted: set[ProfileId]) -> None:
        state = self.state(conversation)
        if state.kind is not kind or (kind is not ConversationKind.GROUP and set(state.members) != wanted):
            raise UntrustedDevice("the server opened another conversation than the one asked for")
        if any(not state.members[each].accepted for each in wanted & self._own(state)):
            await self.accept(conversation)
        await self._rosters.refresh(conversation)

    async def say(
        self, conversation: ConversationId, say: Say, *, as_profile: ProfileId | None = None, accepted: bool = True
    ) -> ChainHead:
        """Sign a statement, put it into the chain, and return its place. Loses against another once, and tries again.

        Raises Refusal, also where these rules refuse it before the server is asked; and what `Rosters.refresh` raises.
        """
        for attempt in range(1, TRIES + 1):
            if attempt > 1:
                await self._own_list.refresh()  # the statement may have named one that is not the newest any more
            if self._store.chains.find(conversation) is None or attempt > 1:
                await self._rosters.catch_up(conversation)
            state = self.state(conversation)
            signer = self._chains.signer(as_profile or self._acting(state, accepted=accepted))
            signed = self._follow(state, signer, [say])
            try:
                await self._append(conversation, signed)
            except Refusal as refusal:
                if refusal.refusal is not RefusalCode.STALE_CHAIN or attempt == TRIES:
                    raise
            else:
                return ChainHead(s.parse_statement(signed[-1])[0].number, s.digest_of(signed[-1]))
        raise AssertionError("there is at least one try")

    async def make_link(
        self, origin: str, conversation: ConversationId, expires_ms: int, uses: int, role: Role
    ) -> GroupLink:
        """Invite whoever is given the link. Raises what `say` raises."""
        seed = os.urandom(SECRET_BYTES)
        key = public_key(seed)
        head = await self.say(conversation, lambda head: s.InviteLink(*head, key, expires_ms, uses, role))
        return GroupLink(origin, conversation, seed, head)

    async def join(self, link: GroupLink, profile: ProfileId) -> None:
        """Come in by a link. Raises NotFound where it is good no more, and what `say` raises."""
        via, conversation = via_link(link, profile), link.conversation
        proof = LinkProof(profile, via.key, via.signature)
        for attempt in range(1, TRIES + 1):
            head = await self._rest.link_head(conversation, proof)
            signer = self._chains.signer(profile)
            place = m.Head(conversation, head.number + 1, head.hash, *signer, now_ms())
            with self._store.transaction():
                # The server chose the head that is signed here. The chain must hold what the link names when it is read
                # later.
                self._chains.expect(conversation, link.head)
                self._store.chains.set_pending(conversation, pending=True)
            try:
                new = NewStatements((self._chains.sign(s.Accept(*place, via)),))
                stored = await self._rest.append_statements(conversation, new)
            except Busy:
                raise  # as in `_create`; and what the link names must still be in the chain, should it come
            except Refusal as refusal:
                with self._store.transaction():
                    self._chains.expect(conversation, None)
                    self._settle(conversation)
                if refusal.refusal is not RefusalCode.STALE_CHAIN or attempt == TRIES:
                    raise
                await self._own_list.refresh()
            else:
                with self._store.transaction():
                    self._store.own_numbers.acked(conversation, stored.seqs[0])
                    self._settle(conversation)
                break
        # What the head rests on is verified only now, because strangers are shown nothing: until then, nothing is sent.
        await self._rosters.refresh(conversation)

    async def invite(self, conversation: ConversationId, profile: ProfileId, role: Role) -> None:
        """Invite somebody. Raises what `say` raises."""
        await self.say(conversation, _invitation(await self._rosters.learn_profile(profile), role))

    async def accept(self, conversation: ConversationId, as_profile: ProfileId | None = None) -> None:
        """Accept an invitation. Raises what `say` raises."""
        await self.say(conversation, lambda head: s.Accept(*head, None), as_profile=as_profile, accepted=False)

    async def requests(self) -> tuple[Request, ...]:
        """Return what this account is invited to, as far as it is proven."""
        found: list[Request] = []
        for each in (await self._rest.requests()).invitations:
            # One that cannot be proven is not shown, and must not hide the others: anybody can send it.
            with suppress(NotFound, RootKeyChanged, UntrustedDevice):
                await self._rosters.catch_up(each.conversation)
                chain = self._store.chains.find(each.conversation)
                member = None if chain is None else chain.state.members.get(each.profile)
                if chain is None or member is None or member.accepted or member.account != self._identity.account:
                    continue
                members = tuple(chain.state.accepted)
                inviter = chain.inviters[each.profile]
                kind, account = chain.state.kind, chain.past[inviter]
                text = self._first_contact.read(each.conversation, inviter, each.profile, each.words)
                by_link = self._first_contact.link_of(each.conversation) is not None
                asked = each.conversation, kind, each.profile, inviter, account
                found.append(Request(*asked, members, text, by_link))
        return tuple(found)

    async def account_of(self, profile: ProfileId) -> AccountId:
        """Return whose profile it is, verified. Raises NotFound, and what `Rosters.refresh` raises."""
        pinned = self._store.pins.profile(profile)
        return (await self._rosters.learn_profile(profile)).account if pinned is None else pinned.account

    async def leave_dms(self, account: AccountId) -> None:
        """Leave every dm with an account. Raises what `say` raises."""
        for conversation in self._store.conversations.all_ids():
            chain = self._store.chains.find(conversation)
            if chain is None or chain.state.kind is not ConversationKind.DM:
                continue
            accounts = {member.account for member in chain.state.accepted.values()}
            # Of a request that was not accepted there is nothing to leave: the block hides it.
            if {account, self._identity.account} <= accounts:
                await self.say(conversation, lambda head: s.Leave(*head))

    def state(self, conversation: ConversationId) -> m.Membership:
        """Return the membership that is proven here. Raises UntrustedDevice where there is none."""
        chain = self._store.chains.find(conversation)
        if chain is None:
            raise UntrustedDevice("no statement proves who is in this conversation")
        return chain.state

    async def _append(self, conversation: ConversationId, signed: Sequence[bytes]) -> None:
        # Before the call: the relay may call the number own, in a later process even, before the answer is here.
        with self._store.transaction():
            self._store.chains.set_pending(conversation, pending=True)
        try:
            stored = await self._rest.append_statements(conversation, NewStatements(tuple(signed)))
        except Busy:
            raise  # as in `_create`
        except Refusal:
            with self._store.transaction():
                self._settle(conversation)
            raise
        with self._store.transaction():
            numbered = [Numbered(seq, each) for seq, each in zip(stored.seqs, signed, strict=True)]
            self._chains.keep_own(conversation, numbered)
            self._settle(conversation)

    async def finish(self, conversation: ConversationId) -> None:
        """Look what became of statements whose answer an earlier process did not hear."""
        with suppress(NotFound):  # they were to open it, and never came
            await self._rosters.catch_up(conversation)
        with self._store.transaction():
            self._settle(conversation)

    def _settle(self, conversation: ConversationId) -> None:
        self._store.chains.set_pending(conversation, pending=False)
        self._outbox.settle_own_numbers(conversation)

    def _follow(self, state: m.Membership, signer: m.Signer, says: Sequence[Say]) -> list[bytes]:
        signed: list[bytes] = []
        for say in says:
            # Whoever comes next makes the snapshot, in the same call: alone it would be one more race to lose.
            if m.snapshot_is_due(state):
                snapshot = s.Snapshot(*m.next_head(state, signer, now_ms()), state.digest_of_state)
                signed.append(self._chains.sign(snapshot))
                state = self._judge(state, signed[-1])
            signed.append(self._chains.sign(say(m.next_head(state, signer, now_ms()))))
            state = self._judge(state, signed[-1])
        if m.snapshot_is_due(state) and signer.profile in state.members:
            # At once, because somebody who comes by a link cannot: who is no member does not sign for the members.
            signed.append(self._chains.sign(s.Snapshot(*m.next_head(state, signer, now_ms()), state.digest_of_state)))
        return signed

    def _judge(self, state: m.Membership | None, signed: bytes) -> m.Membership:
        try:
            return self._chains.make(state, signed)
        except s.ChainFault as fault:
            raise Refusal.of(fault.refusal, f"{fault}.") from None

    def _acting(self, state: m.Membership, *, accepted: bool) -> ProfileId:
        own = self._own(state)
        for profile in self._identity.profiles:
            if profile.id in own and state.members[profile.id].accepted is accepted:
                return profile.id
        raise Refusal.of(RefusalCode.NOT_FOUND, "None of this account's profiles is there like that.")

    def _own(self, state: m.Membership) -> set[ProfileId]:
        return {each for each, member in state.members.items() if member.account == self._identity.account}


def _invitation(owner: ProfileOpening, role: Role) -> Say:
    return lambda head: s.Invite(*head, owner.profile, owner.account, role)
