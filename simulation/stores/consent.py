"""Who may ask whom, in memory."""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from domain.talk.model import Block, Link, Reach, Words
from simulation.stores.interference import Interference
from simulation.stores.memory import Memory
from varde_contract.ids import AccountId, ConversationId, DeviceId, LinkId, ProfileId


class MemoryConsent:
    """A `domain.talk.ports.ConsentStore`."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self._memory = memory
        self._interference = interference

    async def reach(self, account: AccountId, profiles: Sequence[ProfileId], now_ms: int) -> Mapping[ProfileId, Reach]:
        """As promised."""
        await self._interference.let_through()
        return {each: self._reach(account, each, now_ms) for each in profiles if each in self._memory.profiles}

    def _reach(self, account: AccountId, profile: ProfileId, now_ms: int) -> Reach:
        found = self._memory.profiles[profile]
        rows = (talk.members.get(profile) for talk in self._memory.talks.values())
        return Reach(
            owner=found.account,
            found_by=found.policies.found_by,
            linked=any(link.expires_ms > now_ms for link in self._memory.links_used(account, profile)),
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
    ) -> Sequence[DeviceId] | None:
        """As promised."""
        await self._interference.let_through()
        talk = self._memory.talks.get(conversation)
        row = None if talk is None else talk.members.get(profile)
        if talk is None or row is None or row.accepted or row.inviter != account:
            return None
        own = [each.id for each in self._memory.devices_of(row.account) if profile in each.profiles]
        told = [each for each in own if each in words]
        talk.words.update({(profile, each): words[each] for each in told})
        return told

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


class MemoryLinks:
    """A `domain.talk.ports.LinkStore`."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self._memory = memory
        self._interference = interference

    async def add(self, link: Link, now_ms: int, most: int) -> Link | None:
        """As promised."""
        await self._interference.let_through()
        others = (each for key, each in self._memory.links.items() if key[0] == link.account and key[1] != link.id)
        if sum(each.expires_ms > now_ms for each in others) >= most:
            return None
        return self._memory.links.setdefault((link.account, link.id), link)

    async def list_live(self, account: AccountId, now_ms: int) -> Sequence[Link]:
        """As promised."""
        await self._interference.let_through()
        own = (each for each in self._memory.links.values() if each.account == account)
        live = (each for each in own if each.expires_ms > now_ms and each.uses)
        return sorted(live, key=lambda each: (each.made_ms, each.id), reverse=True)

    async def list_of(self, account: AccountId, profile: ProfileId) -> Sequence[Link]:
        """As promised."""
        await self._interference.let_through()
        return [each for each in self._memory.links.values() if (each.account, each.profile) == (account, profile)]

    async def use(self, account: AccountId, link: LinkId, by: AccountId, now_ms: int) -> bool:
        """As promised."""
        await self._interference.let_through()
        found = self._memory.links.get((account, link))
        if found is None or found.expires_ms <= now_ms:
            return False
        if (account, link, by) in self._memory.link_uses:
            return True
        if not found.uses:
            return False
        self._memory.links[account, link] = replace(found, uses=found.uses - 1)
        self._memory.link_uses.add((account, link, by))
        return True

    async def remove(self, account: AccountId, link: LinkId) -> None:
        """As promised."""
        await self._interference.let_through()
        self._memory.links.pop((account, link), None)
        self._memory.link_uses = {each for each in self._memory.link_uses if each[:2] != (account, link)}
