"""Devices and their prekeys, in memory."""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from domain.people import model as people
from domain.people.ports import AdoptFault, DeviceAddFault
from tests.doubles.interference import Interference
from tests.doubles.memory import KeyChain, Memory
from varde_contract.ids import AccountId, DeviceId, ProfileId, SessionId


class MemoryDevices:
    """A `domain.people.ports.DeviceStore`."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self._memory = memory
        self._interference = interference

    async def add(
        self, device: people.Device, session: SessionId, *, most: int
    ) -> Sequence[people.RosterChange] | DeviceAddFault:
        """As promised."""
        await self._interference.let_through()
        fault = self._fault(device, session, most)
        if fault is not None:
            return fault
        memory, key = self._memory, (device.account, session)
        memory.devices[device.id] = device
        memory.device_ids.add(device.id)
        memory.keys[device.id] = KeyChain()
        memory.sessions[key] = replace(memory.sessions[key], device=device.id)
        return self._move(device, device.profiles)

    def _fault(self, device: people.Device, session: SessionId, most: int) -> DeviceAddFault | None:
        if device.id in self._memory.device_ids:
            return DeviceAddFault.EXISTS
        found = self._memory.sessions.get((device.account, session))
        if found is None or found.device is not None:
            return DeviceAddFault.SESSION_BOUND
        return DeviceAddFault.TOO_MANY if len(self._memory.devices_of(device.account)) >= most else None

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

    async def set_profiles(
        self, account: AccountId, device: DeviceId, profiles: Sequence[ProfileId], now_ms: int
    ) -> Sequence[people.RosterChange] | None:
        """As promised."""
        await self._interference.let_through()
        before = self._find(account, device)
        if before is None:
            return None
        after = replace(before, profiles=tuple(dict.fromkeys(profiles)))
        self._memory.devices[device] = after
        self._void(device, now_ms, final=False)
        return self._move(after, set(before.profiles) ^ set(after.profiles))

    async def void_tickets(self, account: AccountId, device: DeviceId, now_ms: int) -> None:
        """As promised."""
        await self._interference.let_through()
        assert account in self._memory.accounts
        self._void(device, now_ms, final=False)

    async def revoke(self, account: AccountId, device: DeviceId, now_ms: int) -> Sequence[people.RosterChange] | None:
        """As promised."""
        await self._interference.let_through()
        before = self._find(account, device)
        if before is None:
            return None
        memory = self._memory
        del memory.devices[device], memory.keys[device]
        memory.past_devices[device] = before
        memory.sessions = {key: session for key, session in memory.sessions.items() if session.device != device}
        self._void(device, now_ms, final=True)
        return self._move(before, before.profiles, removal=True)

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

    def _move(
        self, device: people.Device, profiles: Iterable[ProfileId], *, removal: bool = False
    ) -> list[people.RosterChange]:
        talks = self._memory.talks_with(device.account, profiles)
        for talk in talks:
            self._memory.reseat(talk, device)
        return [talk.move_version(self._memory.clock(), removal=removal) for talk in talks]


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
