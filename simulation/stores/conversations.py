"""Conversations and memberships, in memory."""

from collections import Counter
from collections.abc import Mapping, Sequence

from domain.people import model as people
from domain.talk import model as talk_model
from domain.talk.ports import ChainChange, NewRoster
from simulation.stores.clock import MINUTE
from simulation.stores.interference import Interference
from simulation.stores.memory import Membership, Memory, StoredConversation
from varde_contract.envelope import Cipher, SealedParts, join_sealed
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId
from varde_contract.membership import Member
from varde_contract.talk import Role


class MemoryConversations:
    """A `domain.talk.ports.ConversationStore`."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self._memory = memory
        self._interference = interference

    async def open(self, new: NewRoster) -> tuple[ConversationId, bool]:
        """As promised."""
        await self._interference.let_through()
        if new.pair is not None and new.pair in self._memory.pairs:
            return self._memory.pairs[new.pair], False
        if new.conversation in self._memory.talks:
            return new.conversation, False
        talk = StoredConversation(new.conversation, new.kind, new.created_ms)
        talk.members = {
            profile: replace_member(profile, None, member, 1, new.statements) for profile, member in new.members.items()
        }
        talk.version = new.version
        self._memory.talks[talk.id] = talk
        if new.pair is not None:
            self._memory.pairs[new.pair] = talk.id
        for device, _ in self._memory.current_devices(talk):
            talk.add_device(device.id)
        _say(talk, new.statements, new.state)
        return talk.id, True

    async def rosters(self, conversations: Sequence[ConversationId]) -> Mapping[ConversationId, talk_model.Roster]:
        """As promised."""
        await self._interference.let_through()
        talks = (self._memory.talks[each] for each in conversations if each in self._memory.talks)
        return {talk.id: self._memory.roster(talk) for talk in talks}

    async def view(self, conversation: ConversationId) -> talk_model.RosterView | None:
        """As promised."""
        await self._interference.let_through()
        talk = self._memory.talks.get(conversation)
        if talk is None:
            return None
        memory, accepted = self._memory, {key: each for key, each in talk.members.items() if each.accepted}
        newest = (memory.lists[each.account, memory.accounts[each.account].list_number] for each in accepted.values())
        return talk_model.RosterView(
            roster=self._memory.roster(talk),
            invited={profile: member.account for profile, member in talk.members.items() if not member.accepted},
            chain=_chain_head(talk),
            created_ms=talk.created_ms,
            head=talk.head,
            salts={profile: memory.profiles[profile].salt for profile in accepted},
            lists={stored.account: talk_model.ListHead(stored.number, stored.hash) for stored in newest},
        )

    async def list_for(
        self, device: DeviceId, after: ConversationId | None, limit: int
    ) -> Sequence[talk_model.Summary]:
        """As promised."""
        await self._interference.let_through()
        return [self._summary(talk, self._memory.devices[device]) for talk in self._listed(device, after)[:limit]]

    async def list_many(
        self, requests: Sequence[talk_model.ListRequest]
    ) -> Sequence[Sequence[talk_model.ConversationHead]]:
        """As promised."""
        await self._interference.let_through()
        return [
            [_standing(talk, each.device) for talk in self._newest(each.device, each.before)[: each.limit]]
            for each in requests
        ]

    async def log_heads(self, conversations: Sequence[ConversationId]) -> Mapping[ConversationId, talk_model.LogHead]:
        """As promised."""
        await self._interference.let_through()
        talks = (self._memory.talks[each] for each in conversations if each in self._memory.talks)
        return {talk.id: talk_model.LogHead(talk.head, talk.version) for talk in talks}

    async def recent_heads(self, after_ms: int, upto_ms: int) -> Mapping[ConversationId, int]:
        """As promised."""
        await self._interference.let_through()
        heads = {talk.id: _recent_head(talk, after_ms, upto_ms) for talk in self._memory.talks.values()}
        return {conversation: head for conversation, head in heads.items() if head}

    def _listed(self, device: DeviceId, after: ConversationId | None) -> list[StoredConversation]:
        seated = (talk for _, talk in sorted(self._memory.talks.items()) if device in talk.positions)
        return [talk for talk in seated if after is None or talk.id > after]

    def _newest(self, device: DeviceId, before: ConversationId | None) -> list[StoredConversation]:
        return [talk for talk in reversed(self._listed(device, None)) if before is None or talk.id < before]

    def _summary(self, talk: StoredConversation, device: people.Device) -> talk_model.Summary:
        return talk_model.Summary(
            conversation=talk.id,
            kind=talk.kind,
            profiles=self._memory.received_profiles(talk, device),
            head=talk.head,
            upto=talk.positions[device.id].upto,
            roster_version=talk.version,
        )

    async def extend(self, change: ChainChange) -> talk_model.Extended | None:
        """As promised."""
        await self._interference.let_through()
        talk = self._memory.talks[change.conversation]
        if (talk.statements[-1][0].number if talk.statements else -1) != change.after:
            return None
        before, accounts = talk.members, {member.account for member in talk.members.values()}
        talk.members = {
            profile: replace_member(profile, before.get(profile), member, talk.head + 1, change.statements)
            for profile, member in change.members.items()
        }
        waiting = {profile for profile, row in talk.members.items() if not row.accepted}
        talk.words = {key: words for key, words in talk.words.items() if key[0] in waiting}
        moved = _roles(before) != _roles(talk.members)
        for account in accounts | {member.account for member in talk.members.values()}:
            for device in self._memory.devices_of(account):
                self._memory.reseat(talk, device)
        if change.freed is not None and self._memory.pairs.get(change.freed) == talk.id:
            del self._memory.pairs[change.freed]
        if moved:
            removal = not _roles(before).keys() <= _roles(talk.members).keys()
            talk.move_version(self._memory.clock(), removal=removal)
        return talk_model.Extended(_say(talk, change.statements, change.state), talk.version, moved)

    async def membership(self, conversation: ConversationId) -> bytes | None:
        """As promised."""
        await self._interference.let_through()
        talk = self._memory.talks.get(conversation)
        return None if talk is None else talk.membership

    async def statements(
        self, conversation: ConversationId, first: int, limit: int
    ) -> Sequence[talk_model.StoredStatement]:
        """As promised."""
        await self._interference.let_through()
        talk = self._memory.talks.get(conversation)
        return [] if talk is None else [each for each, _ in talk.statements if each.number >= first][:limit]

    async def has_gone_on(self, conversation: ConversationId) -> bool:
        """As promised."""
        await self._interference.let_through()
        talk = self._memory.talks.get(conversation)
        if talk is None or talk.last_put_back:
            return False
        return talk.statements[-1][0].seq > self._memory.epochs[0][1].get(conversation, 0)

    async def pair(self, pair: tuple[ProfileId, ProfileId]) -> ConversationId | None:
        """As promised."""
        await self._interference.let_through()
        return self._memory.pairs.get(pair)

    async def invitations(self, device: DeviceId, most: int) -> Sequence[talk_model.Invitation]:
        """As promised."""
        await self._interference.let_through()
        found = self._memory.devices[device]
        asked = [
            (row, talk_model.Invitation(talk.id, talk.kind, profile, talk.words.get((profile, device))))
            for talk in self._memory.talks.values()
            for profile, row in talk.members.items()
            if profile in found.profiles and row.account == found.account and not row.accepted
            if (found.account, row.inviter) not in self._memory.blocks
        ]
        asked.sort(key=lambda each: (each[0].asked_ms, each[1].conversation), reverse=True)
        memory = self._memory
        turns: Counter[tuple[ProfileId, AccountId | None]] = Counter()
        ranked: list[tuple[int, Membership, talk_model.Invitation]] = []
        for row, invitation in asked:
            turns[invitation.profile, row.inviter] += 1
            ranked.append((turns[invitation.profile, row.inviter], row, invitation))
        places: Counter[ProfileId] = Counter()
        shown = []
        for turn, row, invitation in sorted(ranked, key=lambda each: each[0]):
            stranger = row.inviter is None or not memory.shares(row.inviter, invitation.profile)
            if stranger and turn == 1 and row.inviter is not None:
                stranger = not memory.links_used(row.inviter, invitation.profile)
            places[invitation.profile] += stranger
            if not stranger or places[invitation.profile] <= most:
                shown.append(invitation)
        return [invitation for _, invitation in asked if invitation in shown]


def replace_member(
    profile: ProfileId,
    before: Membership | None,
    after: Member,
    from_seq: int,
    statements: Sequence[talk_model.NewStatement],
) -> Membership:
    """The row of a member: who accepts has what comes from then on."""
    if before is not None and before.accepted:
        from_seq = before.from_seq
    row = Membership(after.account, after.role, from_seq, after.accepted, 0 if before is None else before.read_upto)
    if not after.accepted and before is not None:
        row.inviter, row.asked_ms = before.inviter, before.asked_ms
    elif not after.accepted and statements:
        row.inviter = {each.invited: each.account for each in statements}.get(profile)
        row.asked_ms = statements[-1].sent_ms
    return row


def _roles(members: Mapping[ProfileId, Membership]) -> dict[ProfileId, Role]:
    return {profile: member.role for profile, member in members.items() if member.accepted}


def _say(talk: StoredConversation, statements: Sequence[talk_model.NewStatement], membership: bytes) -> tuple[int, ...]:
    for each in statements:
        talk.head += 1
        sealed = join_sealed(SealedParts(Cipher.MEMBERSHIP, b"", each.signed))
        talk.log[talk.head] = talk_model.Draft(
            message=each.message,
            conversation=talk.id,
            roster_version=talk.version,
            client_id=each.client_id,
            profile=each.profile,
            device=each.device,
            sent_ms=each.sent_ms,
            group=sealed,
            devices=None,
        )
        talk.ciphers[talk.head, None] = sealed
        talk.known[each.device, each.client_id] = talk.head
        talk.statements.append((talk_model.StoredStatement(each.number, talk.head, each.signed, each.state), each.hash))
        talk.membership = membership
        talk.signers.add(each.signer)
        talk.last_put_back = each.put_back
    return tuple(range(talk.head - len(statements) + 1, talk.head + 1))


def _standing(talk: StoredConversation, device: DeviceId) -> talk_model.ConversationHead:
    upto = talk.positions[device].upto
    own_seq = max((seq for seq, draft in talk.log.items() if seq > upto and draft.device == device), default=0)
    return talk_model.ConversationHead(talk.id, talk.head, upto, talk.version, own_seq)


def _chain_head(talk: StoredConversation) -> talk_model.ChainHead | None:
    if not talk.statements:
        return None
    last, head = talk.statements[-1]
    return talk_model.ChainHead(last.number, head)


def _recent_head(talk: StoredConversation, after_ms: int, upto_ms: int) -> int:
    # From the end: every node asks each second. No draft waits a minute for its commit.
    for seq in reversed(talk.log):
        sent_ms = talk.log[seq].sent_ms
        if after_ms < sent_ms <= upto_ms:
            return seq
        if sent_ms <= after_ms - MINUTE:
            break
    return 0
