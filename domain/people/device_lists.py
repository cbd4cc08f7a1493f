"""Device lists: the one way in which devices come, change and go, and in which a root key is set or replaced.

A list is judged by the rules of the contract, and the devices, whitelists and rosters follow from what differs between
it and the list before. No session may do that: only the signatures in the list may.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from domain.events import Event
from domain.people.events import DevicesChanged, TicketsRevoked
from domain.people.model import Actor, Device, ListChange, Profile, StoredList
from domain.people.ports import AccountStore, DeviceStore, ListFault, ProfileStore
from domain.ports import Bus, Clock
from varde_contract.device_list import (
    CLOCK_SKEW_MS,
    DeviceList,
    ListedDevice,
    SignedDeviceList,
    commitment,
    decode_list,
    decode_signed_list,
    judge,
    list_hash,
)
from varde_contract.errors import PeerFault
from varde_contract.ids import AccountId, ProfileId
from varde_contract.limits import LISTS_PER_PAGE
from varde_contract.people import FoundBy, Policies, ProfileType, Theme
from varde_contract.refusals import RefusalCode, Refused

_NOT_YOURS: Final = Refused(
    RefusalCode.PROFILE_NOT_ALLOWED, "A device's profiles may only be commitments of profiles of the account."
)
_STALE: Final = Refused(
    RefusalCode.STALE_DEVICE_LIST, "The account has another device list by now. Fetch it, and sign one that follows it."
)
_OTHER_ACCOUNT: Final = Refused(RefusalCode.BAD_DEVICE_LIST, "The device list is of another account.")
_EXISTS: Final = Refused(RefusalCode.DEVICE_EXISTS, "A device with this id exists or existed. Choose a fresh id.")
_NOT_LOST: Final = Refused(RefusalCode.BAD_DEVICE_LIST, "This device list is newer than what was lost.")
_UNKNOWN: Final = Refused(RefusalCode.NOT_FOUND, "There is no such account that this one may write to.")


_LOST: Final = Policies(found_by=FoundBy.NOBODY)
"""Of a profile that was lost: whom it let ask is lost, too, and nobody may be there to answer."""
TRIES: Final = 3
"""All who hold lost lists put them back in the same moment: who is slower finds them there at the next try."""
EXPIRED_AT_ONCE: Final = 100
"""Each is a transaction of its own: it locks the account and its conversations."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The account's newest list; without `made` it was the newest before."""

    stored: StoredList
    made: bool


class DeviceLists:
    """The device lists of all accounts."""

    def __init__(
        self, accounts: AccountStore, store: DeviceStore, profiles: ProfileStore, bus: Bus, *, clock: Clock
    ) -> None:
        self._accounts = accounts
        self._store = store
        self._profiles = profiles
        self._bus = bus
        self._clock = clock

    async def put(self, actor: Actor, encoded: bytes) -> Accepted | Refused:
        """Make a signed list the account's newest. Word for word the same again, it answers the same.

        A list that says nothing new is not stored: nobody has to look at it, no roster moves and no ticket is void.

        Refuses `bad-device-list`, `stale-device-list`, `profile-not-allowed` and `device-exists`.
        """
        # Judged without a lock: `apply` only takes what follows the newest list of then, and calls anything else stale.
        newest = await self._store.newest_list(actor.account)
        if newest is not None and newest.signed == encoded:
            return Accepted(newest, made=False)
        before = None if newest is None else _list_of(newest)
        now = self._clock()
        try:
            signed = decode_signed_list(encoded)
            devices = _judge(actor, before, signed, now)
        except PeerFault as fault:
            return Refused(RefusalCode.BAD_DEVICE_LIST, f"This device list cannot be the next one: {fault}.")
        if isinstance(devices, Refused):
            return devices
        if newest is not None and before is not None and _content(before) == _content(devices):
            return Accepted(newest, made=False)
        return await self._store_next(before, devices, encoded, now)

    async def put_back(
        self, account: AccountId, encoded: Sequence[bytes], openings: Mapping[ProfileId, bytes], since_ms: int
    ) -> StoredList | Refused:
        """Store lists that were lost since the store's last backup, in their order; return the newest that is known.

        Anybody may who holds them: they are signed. Those that are there are passed over. An account that is lost is
        known again, with those of its `openings` (profiles and salts) that the lists commit to, so that what its
        devices signed can be judged; nobody signs in as it. `since_ms` is when the loss was noticed: later lists are
        not lost ones.

        Refuses `bad-device-list`, `stale-device-list`, `profile-not-allowed` and `device-exists`.
        """
        try:
            lists = [(each, decode_list(decode_signed_list(each).statement)) for each in encoded]
        except PeerFault as fault:
            return Refused(RefusalCode.BAD_DEVICE_LIST, f"This device list was never one: {fault}.")
        if any(devices.account != account for _, devices in lists):
            return _OTHER_ACCOUNT
        if any(devices.issued_ms > since_ms + CLOCK_SKEW_MS for _, devices in lists):
            return _NOT_LOST
        for left in range(TRIES - 1, -1, -1):
            outcome = await self._put_back(account, lists, openings)
            if outcome is not _STALE or not left:
                return outcome
        raise AssertionError("there is at least one try")

    async def _put_back(
        self, account: AccountId, lists: Sequence[tuple[bytes, DeviceList]], openings: Mapping[ProfileId, bytes]
    ) -> StoredList | Refused:
        stored = await self._store.lists(account, lists[0][1].number, len(lists))
        if [each.signed for each in stored] != [each for each, _ in lists[: len(stored)]]:
            return _STALE
        known = await self._accounts.find(account) is not None
        committed = {each for _, devices in lists for device in devices.devices for each in device.profiles}
        fresh = [
            Profile(account, profile, ProfileType.PRIVAT, Theme.SYSTEM, _LOST, self._clock(), salt)
            for profile, salt in openings.items()
            if commitment(profile, salt) in committed
        ]
        newest = stored[-1] if stored else await self._store.newest_list(account) if known else None
        for each, claimed in lists[len(stored) :]:
            before = None if newest is None else _list_of(newest)
            if claimed.number != (1 if before is None else before.number + 1):
                return _STALE
            try:
                devices = judge(before, decode_signed_list(each))
            except PeerFault as fault:
                return Refused(RefusalCode.BAD_DEVICE_LIST, f"This device list was never one: {fault}.")
            # Only now: nobody makes an account known with a list that was never one.
            await self._accounts.put_back(account, fresh)
            # Of an account that was lost, the profiles whose salts nobody brings stay unknown, and their commitments
            # unopened.
            taken = await self._store_next(before, devices, each, self._clock(), all_opened=known)
            if isinstance(taken, Refused):
                return taken
            newest = taken.stored
        return _STALE if newest is None else newest

    async def own(self, actor: Actor, from_number: int) -> Sequence[StoredList]:
        """Return the actor's lists from a number on, at most `LISTS_PER_PAGE`."""
        return await self._store.lists(actor.account, from_number, LISTS_PER_PAGE)

    async def of_account(
        self, actor: Actor, account: AccountId, from_number: int, profile: ProfileId | None
    ) -> Sequence[StoredList] | Refused:
        """Return an account's lists from a number on, to those who need them to write to it or to read what it wrote.

        They share a conversation, or can have a message that a device of the account wrote, or know one of its
        profiles. Accounts and numbers are in the public log: without this rule, anybody could watch anybody's devices.
        Refuses `not-found`.
        """
        if account != actor.account and not await self._may_read(actor, account, profile):
            return _UNKNOWN
        return await self._store.lists(account, from_number, LISTS_PER_PAGE)

    async def _may_read(self, actor: Actor, account: AccountId, profile: ProfileId | None) -> bool:
        if profile is not None:
            owner = (await self._profiles.owners([profile])).get(profile)
            if owner is not None and owner.id == account:
                return True
        return await self._store.may_read_lists(actor.account, actor.device, account)

    async def _store_next(
        self, before: DeviceList | None, devices: DeviceList, encoded: bytes, now_ms: int, *, all_opened: bool = True
    ) -> Accepted | Refused:
        profiles = await self._profiles.list_all(devices.account)
        opened = {commitment(profile.id, profile.salt): profile.id for profile in profiles}
        if all_opened and any(each not in opened for device in devices.devices for each in device.profiles):
            return _NOT_YOURS
        stored = StoredList(devices.account, devices.number, encoded, list_hash(devices))
        change = list_change(before, devices, stored, opened, now_ms)
        match await self._store.apply(change):
            case ListFault.STALE:
                return _STALE
            case ListFault.DEVICE_EXISTS:
                return _EXISTS
            case moves:
                pass
        # The change may have waited for others, and tickets were issued meanwhile from the whitelist as it was. A time
        # after the change is later than any of them; the store's own time is for the case that this is not reached.
        now_ms = self._clock()
        for device in change.voided:
            await self._store.void_tickets(change.stored.account, device, now_ms)
        # What is cut comes first: the others only make rosters be read again.
        events: list[Event] = [TicketsRevoked(device, now_ms, final=True) for device in change.revoked]
        events += [TicketsRevoked(device, now_ms, final=False) for device in change.voided]
        events += [DevicesChanged(move.conversation, move.version) for move in moves]
        if events:
            await self._bus.publish(events)
        return Accepted(stored, made=True)


async def expire_devices(store: DeviceStore, bus: Bus, *, now_ms: int) -> bool:
    """Let devices whose time is over leave all rosters, and announce it; True when there may be more of them.

    The list says so already, and clients go by it: this only keeps the server's rosters true to it. A later list may
    give a device more time. Raises StoreUnavailable.
    """
    expired = await store.expire(now_ms, EXPIRED_AT_ONCE)
    events: list[Event] = [TicketsRevoked(device, now_ms, final=False) for device in expired.devices]
    events += [DevicesChanged(move.conversation, move.version) for move in expired.moves]
    if events:
        await bus.publish(events)
    return len(expired.devices) >= EXPIRED_AT_ONCE


def list_change(
    before: DeviceList | None,
    devices: DeviceList,
    stored: StoredList,
    opened: Mapping[bytes, ProfileId],
    now_ms: int,
) -> ListChange:
    """Return what a list changes. Its co-members learn of it where a device comes or goes, or the root key changes."""
    known = {} if before is None else {each.device: each for each in before.devices}
    listed = {each.device: each for each in devices.devices}
    changed = [each for each in devices.devices if each.device in known and known[each.device] != each]
    return ListChange(
        stored=stored,
        added=tuple(
            _device(devices.account, each, opened, now_ms) for each in devices.devices if each.device not in known
        ),
        changed=tuple(_device(devices.account, each, opened, now_ms) for each in changed),
        revoked=tuple(device for device in known if device not in listed),
        voided=tuple(each.device for each in changed if _ticket(known[each.device]) != _ticket(each)),
        everywhere=before is not None and _announced(before) != _announced(devices),
        now_ms=now_ms,
    )


def _judge(actor: Actor, before: DeviceList | None, signed: SignedDeviceList, now_ms: int) -> DeviceList | Refused:
    claimed = decode_list(signed.statement)
    if claimed.account != actor.account:
        return _OTHER_ACCOUNT
    if (claimed.number, claimed.previous) != ((1, None) if before is None else (before.number + 1, list_hash(before))):
        return _STALE
    return judge(before, signed, now_ms=now_ms)


def _list_of(stored: StoredList) -> DeviceList:
    return decode_list(decode_signed_list(stored.signed).statement)


def _content(devices: DeviceList) -> DeviceList:
    return replace(devices, number=1, previous=None, issued_ms=0)


def _ticket(device: ListedDevice) -> tuple[object, ...]:
    """What a relay ticket says of a device."""
    return device.profiles, device.valid_until_ms


def _announced(devices: DeviceList) -> tuple[object, ...]:
    """What everybody who writes to the account is told of, whichever of its profiles they know."""
    return devices.root_key, devices.pending_root


def _device(account: AccountId, listed: ListedDevice, opened: Mapping[bytes, ProfileId], now_ms: int) -> Device:
    return Device(
        account=account,
        id=listed.device,
        noise_key=listed.noise_key,
        signing_key=listed.signing_key,
        identity_key=listed.identity_key,
        # One whose time is over receives for nothing, as `expire_devices` would leave it.
        profiles=tuple(sorted(opened[each] for each in listed.profiles if each in opened))
        if listed.is_valid(now_ms)
        else (),
        valid_until_ms=listed.valid_until_ms,
        created_ms=now_ms,
    )
