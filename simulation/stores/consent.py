"""Who may ask whom, in memory."""

from collections.abc import Mapping, Sequence

from domain.talk.model import Block, Reach, Words
from simulation.stores.interference import Interference
from simulation.stores.memory import Memory
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId


class MemoryConsent:
    """A `domain.talk.ports.ConsentStore`."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self._memory = memory
        self._interference = interference

    async def reach(self, account: AccountId, profiles: Sequence[ProfileId]) -> Mapping[ProfileId, Reach]:
        """As promised."""
        await self._interference.let_through()
        return {each: self._reach(account, each) for each in profiles if each in self._memory.profiles}

    def _reach(self, account: AccountId, profile: ProfileId) -> Reach:
        found = self._memory.profiles[profile]
        rows = (talk.members.get(profile) for talk in self._memory.talks.values())
        return Reach(
            owner=found.account,
            found_by=found.policies.found_by,
            shares=self._memory.shares(account, profile),
            signed=any(
                profile in talk.signers and any(row.account == account for row in talk.members.values())
                for talk in self._memory.talks.values()
            ),
            waiting=sum(row is not None and row.inviter == account and not row.accepted for row in rows),
            blocked=(found.account, account) in self._memory.blocks,
            asks=any(
                row.account == account and row.inviter == found.account and not row.accepted
                for talk in self._memory.talks.values()
                for row in talk.members.values()
            ),
        )

    async def invited_devices(self, account: AccountId, conversation: ConversationId) -> Mapping[DeviceId, AccountId]:
        """As promised."""
        await self._interference.let_through()
        return {
            device.id: device.account
            for profile, row in self._memory.talks[conversation].members.items()
            if row.inviter == account and not row.accepted
            for device in self._memory.devices_of(row.account)
            if profile in device.profiles
        }

    async def put_words(
        self, account: AccountId, conversation: ConversationId, profile: ProfileId, words: Mapping[DeviceId, Words]
    ) -> bool:
        """As promised."""
        await self._interference.let_through()
        talk = self._memory.talks.get(conversation)
        row = None if talk is None else talk.members.get(profile)
        if talk is None or row is None or row.accepted or row.inviter != account:
            return False
        for device in self._memory.devices_of(row.account):
            if device.id in words and profile in device.profiles:
                talk.words[profile, device.id] = words[device.id]
        return True

    async def block(self, account: AccountId, blocked: AccountId, now_ms: int, most: int) -> bool:
        """As promised."""
        await self._interference.let_through()
        if sum(by == account and other != blocked for by, other in self._memory.blocks) >= most:
            return False
        self._memory.blocks.setdefault((account, blocked), now_ms)
        return True

    async def unblock(self, account: AccountId, blocked: AccountId) -> None:
        """As promised."""
        await self._interference.let_through()
        self._memory.blocks.pop((account, blocked), None)

    async def blocks(self, account: AccountId) -> Sequence[Block]:
        """As promised."""
        await self._interference.let_through()
        own = [Block(other, since) for (by, other), since in self._memory.blocks.items() if by == account]
        return sorted(own, key=lambda each: (-each.since_ms, each.account))
