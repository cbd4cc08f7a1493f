"""Conversations and memberships, in memory."""

from collections.abc import Mapping, Sequence

from domain.people import model as people
from domain.talk import model as talk_model
from domain.talk.ports import MemberFault, NewRoster
from tests.doubles.interference import Interference
from tests.doubles.memory import Membership, Memory, StoredConversation
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId
from varde_contract.talk import Role


class MemoryConversations:
    """A `domain.talk.ports.ConversationStore`."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self._memory = memory
        self._interference = interference

    async def open(self, new: NewRoster) -> tuple[ConversationId, bool]:
        """As promised. Like the database, insists on a fresh id."""
        await self._interference.let_through()
        if new.pair is not None and new.pair in self._memory.pairs:
            return self._memory.pairs[new.pair], False
        assert new.conversation not in self._memory.talks
        talk = StoredConversation(new.conversation, new.kind, new.created_ms)
        talk.members = {profile: Membership(account, role, from_seq=1) for profile, account, role in new.members}
        self._memory.talks[talk.id] = talk
        if new.pair is not None:
            self._memory.pairs[new.pair] = talk.id
        for device, _ in self._memory.current_devices(talk):
            talk.add_device(device.id)
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
        lists = self._memory.lists
        newest = (
            lists[member.account, self._memory.accounts[member.account].list_number] for member in talk.members.values()
        )
        return talk_model.RosterView(
            roster=self._memory.roster(talk),
            created_ms=talk.created_ms,
            head=talk.head,
            salts={profile: self._memory.profiles[profile].salt for profile in talk.members},
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

    async def add_member(
        self, conversation: ConversationId, version: int, member: tuple[ProfileId, AccountId, Role], *, most: int
    ) -> people.RosterChange | MemberFault:
        """As promised."""
        await self._interference.let_through()
        profile, account, role = member
        talk = self._at(conversation, version)
        if talk is None:
            return MemberFault.MOVED
        if profile in talk.members:
            return MemberFault.ALREADY_MEMBER
        if len(talk.members) >= most:
            return MemberFault.TOO_MANY
        talk.members[profile] = Membership(account, role, talk.head + 1)
        return self._reseat(talk, account)

    async def remove_member(
        self, conversation: ConversationId, version: int, profile: ProfileId
    ) -> people.RosterChange | MemberFault:
        """As promised."""
        await self._interference.let_through()
        talk = self._at(conversation, version)
        if talk is None:
            return MemberFault.MOVED
        member = talk.members.pop(profile, None)
        return MemberFault.NO_MEMBER if member is None else self._reseat(talk, member.account, removal=True)

    async def set_role(
        self, conversation: ConversationId, version: int, profile: ProfileId, role: Role
    ) -> people.RosterChange | MemberFault:
        """As promised."""
        await self._interference.let_through()
        talk = self._at(conversation, version)
        if talk is None:
            return MemberFault.MOVED
        if profile not in talk.members:
            return MemberFault.NO_MEMBER
        talk.members[profile].role = role
        return talk.move_version(self._memory.clock())

    def _at(self, conversation: ConversationId, version: int) -> StoredConversation | None:
        talk = self._memory.talks.get(conversation)
        return talk if talk is not None and talk.version == version else None

    def _reseat(self, talk: StoredConversation, account: AccountId, *, removal: bool = False) -> people.RosterChange:
        for device in self._memory.devices_of(account):
            self._memory.reseat(talk, device)
        return talk.move_version(self._memory.clock(), removal=removal)


def _standing(talk: StoredConversation, device: DeviceId) -> talk_model.ConversationHead:
    upto = talk.positions[device].upto
    own_seq = max((seq for seq, draft in talk.log.items() if seq > upto and draft.device == device), default=0)
    return talk_model.ConversationHead(talk.id, talk.head, upto, talk.version, own_seq)
