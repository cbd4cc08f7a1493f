"""Devices and their prekeys, in memory."""

import hashlib
from collections.abc import Sequence

from msgspec.structs import replace

from domain.people import model as people
from domain.people.ports import AdoptFault, ListFault
from simulation.stores.interference import Interference
from simulation.stores.memory import KeyChain, Memory
from varde_contract.ids import AccountId, DeviceId, SessionId
from varde_contract.transparency.entry import Entry


class MemoryDevices:
    """A `domain.people.ports.DeviceStore`."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self._memory = memory
        self._interference = interference

    async def apply(self, change: people.ListChange) -> Sequence[people.RosterChange] | ListFault:
        """As promised."""
        await self._interference.let_through()
        memory, stored = self._memory, change.stored
        account = memory.accounts[stored.account]
        if stored.number != account.list_number + 1:
            return ListFault.STALE
        if any(device.id in memory.device_owners for device in change.added):
            return ListFault.DEVICE_EXISTS
        memory.accounts[account.id] = replace(account, list_number=stored.number)
        memory.lists[account.id, stored.number] = stored
        memory.stored_ms[account.id, stored.number] = change.now_ms
        digest = hashlib.sha256(stored.signed).digest()
        memory.transparency.enqueue(Entry(account.id, stored.number, digest))  # in the transaction that stores the list
        touched = [memory.devices[device] for device in change.revoked]
        moved = {profile for device in touched for profile in device.profiles}
        for device in change.changed:
            before = memory.devices[device.id]
            moved |= set(before.profiles) ^ set(device.profiles)
            memory.devices[device.id] = replace(device, created_ms=before.created_ms)
        for device_id in change.revoked:
            del memory.devices[device_id], memory.keys[device_id]
        memory.sessions = {
            key: session for key, session in memory.sessions.items() if session.device not in change.revoked
        }
        for device in change.added:
            memory.devices[device.id] = device
            memory.device_owners[device.id] = account.id
            memory.keys[device.id] = KeyChain()
            moved |= set(device.profiles)
        for device_id in (*change.revoked, *change.voided):
            self._void(device_id, change.now_ms, final=device_id in change.revoked)
        own = {profile.id for profile in memory.profiles.values() if profile.account == account.id}
        talks = memory.talks_with(account.id, own if change.everywhere else moved)
        for talk in talks:
            for device in (*touched, *memory.devices_of(account.id)):
                memory.reseat(talk, device)
        return [talk.move_version(memory.clock(), removal=bool(change.revoked)) for talk in talks]

    async def expire(self, now_ms: int, most: int) -> people.Expired:
        """As promised."""
        await self._interference.let_through()
        memory = self._memory
        due = [
            device
            for device in memory.devices.values()
            if device.valid_until_ms is not None and device.valid_until_ms <= now_ms and device.profiles
        ]
        moves: list[people.RosterChange] = []
        for device in sorted(due, key=lambda each: each.valid_until_ms or 0)[:most]:
            memory.devices[device.id] = replace(device, profiles=())
            self._void(device.id, now_ms, final=False)
            for talk in memory.talks_with(device.account, device.profiles):
                memory.reseat(talk, memory.devices[device.id])
                moves.append(talk.move_version(memory.clock(), removal=True))
        return people.Expired(tuple(device.id for device in due[:most]), tuple(moves))

    async def newest_list(self, account: AccountId) -> people.StoredList | None:
        """As promised."""
        await self._interference.let_through()
        return self._memory.lists.get((account, self._memory.accounts[account].list_number))

    async def lists(self, account: AccountId, from_number: int, most: int) -> Sequence[people.StoredList]:
        """As promised."""
        await self._interference.let_through()
        own = [stored for (whose, _), stored in sorted(self._memory.lists.items()) if whose == account]
        return [stored for stored in own if stored.number >= from_number][:most]

    async def kept_list(self, account: AccountId, before_ms: int) -> int:
        """As promised."""
        await self._interference.let_through()
        times = self._memory.stored_ms.items()
        return max((number for (whose, number), ms in times if whose == account and ms < before_ms), default=0)

    async def may_read_lists(self, reader: AccountId, device: DeviceId | None, account: AccountId) -> bool:
        """As promised."""
        await self._interference.let_through()
        for talk in self._memory.talks.values():
            accounts = {member.account for member in talk.members.values()}
            position = None if device is None else talk.positions.get(device)
            wrote = position is not None and any(
                seq >= position.start and self._memory.device_owners[draft.device] == account
                for seq, draft in talk.log.items()
            )
            if wrote or {reader, account} <= accounts:
                return True
        return False

    async def adopt(self, account: AccountId, device: DeviceId, session: SessionId) -> AdoptFault | None:
        """As promised."""
        await self._interference.let_through()
        if self._find(account, device) is None:
            return AdoptFault.NO_DEVICE
        memory, key = self._memory, (account, session)
        found = memory.sessions.get(key)
        if found is None or found.device not in {None, device}:
            return AdoptFault.SESSION_BOUND
        memory.sessions = {each: session for each, session in memory.sessions.items() if session.device != device}
        memory.sessions[key] = replace(found, device=device)
        return None

    async def find(self, account: AccountId, device: DeviceId) -> people.Device | None:
        """As promised."""
        await self._interference.let_through()
        return self._find(account, device)

    async def list_all(self, account: AccountId) -> Sequence[people.Device]:
        """As promised."""
        await self._interference.let_through()
        return self._memory.devices_of(account)

    async def void_tickets(self, account: AccountId, device: DeviceId, now_ms: int) -> None:
        """As promised."""
        await self._interference.let_through()
        assert account in self._memory.accounts
        self._void(device, now_ms, final=False)

    async def revocations(self, since_ms: int) -> Sequence[people.Revocation]:
        """As promised."""
        await self._interference.let_through()
        return [revocation for written, revocation in self._memory.revocations.values() if written >= since_ms]

    def _find(self, account: AccountId, device: DeviceId) -> people.Device | None:
        found = self._memory.devices.get(device)
        return found if found is not None and found.account == account else None

    def _void(self, device: DeviceId, now_ms: int, *, final: bool) -> None:
        before, known = self._memory.revocations.get(device, (now_ms, None))
        not_before = max(before, now_ms)
        final = final or (known is not None and known.final)
        self._memory.revocations[device] = not_before, people.Revocation(device, not_before, final)


class MemoryPrekeys:
    """A `domain.people.ports.PrekeyStore`."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self._memory = memory
        self._interference = interference

    async def upload(
        self,
        account: AccountId,
        device: DeviceId,
        one_time: Sequence[people.Prekey],
        fallback: people.Prekey | None,
        *,
        most: int,
    ) -> tuple[int, bool] | None:
        """As promised."""
        await self._interference.let_through()
        chain = self._chain(account, device)
        if chain is None:
            return 0, False
        fresh = {prekey.key: prekey for prekey in reversed(one_time) if prekey.key not in chain.known}
        if len(chain.one_time) + len(fresh) > most:
            return None
        chain.one_time += [prekey for prekey in one_time if fresh.get(prekey.key) is prekey]
        chain.known |= fresh.keys()
        chain.fallback = fallback or chain.fallback
        return len(chain.one_time), chain.fallback is not None

    async def count(self, account: AccountId, device: DeviceId) -> tuple[int, bool]:
        """As promised."""
        await self._interference.let_through()
        chain = self._chain(account, device) or KeyChain()
        return len(chain.one_time), chain.fallback is not None

    async def claim(
        self,
        claimer: AccountId,
        devices: Sequence[tuple[AccountId, DeviceId]],
        *,
        now_ms: int,
        window_ms: int,
        most: int,
    ) -> Sequence[people.ClaimedPrekey] | None:
        """As promised."""
        await self._interference.let_through()
        chains = {device: chain for account, device in devices if (chain := self._chain(account, device)) is not None}
        recent = {device: self._recent(claimer, device, now_ms - window_ms) for device in chains}
        if any(len(times) >= most for times in recent.values()):
            return None
        for device, times in recent.items():
            self._memory.claims[claimer, device] = [*times, now_ms]
        claimed = (_take(device, chain) for device, chain in chains.items())
        return [prekey for prekey in claimed if prekey is not None]

    def _chain(self, account: AccountId, device: DeviceId) -> KeyChain | None:
        found = self._memory.devices.get(device)
        return self._memory.keys[device] if found is not None and found.account == account else None

    def _recent(self, claimer: AccountId, device: DeviceId, after_ms: int) -> list[int]:
        return [time for time in self._memory.claims.get((claimer, device), []) if time > after_ms]


def _take(device: DeviceId, chain: KeyChain) -> people.ClaimedPrekey | None:
    if chain.one_time:
        first = chain.one_time.pop(0)
        return people.ClaimedPrekey(device, first, fallback=False, left=len(chain.one_time))
    return None if chain.fallback is None else people.ClaimedPrekey(device, chain.fallback, fallback=True, left=0)
