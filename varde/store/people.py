"""What this device knows of others: their device lists, whose a profile is, local names."""

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct

from varde.errors import StoreDamaged
from varde.store.table import Cell, Table
from varde_contract.ids import AccountId, DeviceId, ProfileId


class PinnedList(Struct, frozen=True):
    """The newest device list of an account that was verified. No older one, and no other of its number, is taken in."""

    number: int
    hash: bytes


class PinnedProfile(Struct, frozen=True):
    """Whose a profile is, and the salt of its commitment in that account's device lists."""

    account: AccountId
    salt: bytes


class NamedAccount(NamedTuple):
    """What a link or a contact card says of a profile: its account, and the hash of one of its root keys."""

    account: AccountId
    root_hash: bytes


class KnownDevice(Struct, frozen=True):
    """A device of any list of an account, also one that is gone; `profiles` are all commitments it ever had."""

    account: AccountId
    device: DeviceId
    noise_key: bytes
    signing_key: bytes
    identity_key: bytes
    profiles: frozenset[bytes]


class PinCount(Struct, frozen=True):
    """How many rows there are to be: one that is missing was deleted."""

    lists: int = 0
    profiles: int = 0


class Pins(Table):
    """What was seen first and must not change. Encrypted although public, so that nobody can swap a pin in the file.

    Nor can anybody delete one, so that the next thing the server shows would be believed as the first: where no pin is
    found, the rows are counted. Raises StoreDamaged then.
    """

    revision = 0
    """Grows with every list that is put in: what was concluded from the lists before is over."""

    def newest(self, account: AccountId) -> PinnedList | None:
        """Return which list of the account is the newest that was verified."""
        row = self._database.row("SELECT sealed FROM pinned_list WHERE account = ?", account.bytes)
        # A row that is absent is first use, or was deleted by somebody who wants it to look like that.
        if row is None:
            self._check_count()
            return None
        pinned = self._decrypt(_pin_cell(account), row[0], PinnedList)
        # An older row that was put back would let an old list pass for a new one.
        if self._database.row("SELECT max(number) FROM device_list WHERE account = ?", account.bytes) != (
            pinned.number,
        ):
            raise StoreDamaged("the pinned device list of an account is not its newest in the store")
        return pinned

    def signed_list(self, account: AccountId, number: int) -> bytes:
        """Return a list that was verified, with its signatures, encoded."""
        row = self._database.row(
            "SELECT sealed FROM device_list WHERE account = ? AND number = ?", account.bytes, number
        )
        if row is None:
            raise StoreDamaged("a device list is missing from the store")
        return self._decrypt(_list_cell(account, number), row[0], bytes)

    def put_list(self, account: AccountId, pinned: PinnedList, signed: bytes) -> None:
        """Keep the next list of an account, which was verified, and pin it."""
        if self.newest(account) is None:
            self._put_count(lists=1)
        self.revision += 1
        self._database.run(
            "INSERT INTO device_list VALUES (?, ?, ?)",
            account.bytes,
            pinned.number,
            self._encrypt(_list_cell(account, pinned.number), signed),
        )
        self._database.run(
            "INSERT INTO pinned_list VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET sealed = excluded.sealed",
            account.bytes,
            self._encrypt(_pin_cell(account), pinned),
        )

    def profile(self, profile: ProfileId) -> PinnedProfile | None:
        """Return whose profile it is."""
        row = self._database.row("SELECT sealed FROM pinned_profile WHERE profile = ?", profile.bytes)
        if row is None:
            self._check_count()
            return None
        return self._decrypt(_profile_cell(profile), row[0], PinnedProfile)

    def salts_of(self, account: AccountId) -> dict[ProfileId, bytes]:
        """Return the salts of an account's profiles that are known. Slow: every pin is opened."""
        rows = self._database.rows("SELECT profile, sealed FROM pinned_profile ORDER BY profile")
        profiles = [(ProfileId(UUID(bytes=row)), sealed) for row, sealed in rows]
        pins = ((each, self._decrypt(_profile_cell(each), sealed, PinnedProfile)) for each, sealed in profiles)
        return {each: pinned.salt for each, pinned in pins if pinned.account == account}

    def pin_profile(self, profile: ProfileId, pinned: PinnedProfile) -> None:
        """Trust from now on that the profile is this account's."""
        self._put_count(profiles=1)
        self._database.run(
            "INSERT INTO pinned_profile VALUES (?, ?)", profile.bytes, self._encrypt(_profile_cell(profile), pinned)
        )

    def device(self, device: DeviceId) -> KnownDevice | None:
        """Return a device of some verified list, current or gone: old messages are still its own."""
        row = self._database.row("SELECT sealed FROM known_device WHERE device = ?", device.bytes)
        return None if row is None else self._decrypt(_device_cell(device), row[0], KnownDevice)

    def put_device(self, known: KnownDevice) -> None:
        """Keep a device of a verified list."""
        self._database.run(
            "INSERT INTO known_device VALUES (?, ?) ON CONFLICT (device) DO UPDATE SET sealed = excluded.sealed",
            known.device.bytes,
            self._encrypt(_device_cell(known.device), known),
        )

    def _count(self) -> PinCount:
        row = self._database.row("SELECT sealed FROM pin_count WHERE one = 1")
        return PinCount() if row is None else self._decrypt(_COUNT, row[0], PinCount)

    def _put_count(self, *, lists: int = 0, profiles: int = 0) -> None:
        self._check_count()
        before = self._count()
        after = PinCount(before.lists + lists, before.profiles + profiles)
        self._database.run(
            "INSERT INTO pin_count VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET sealed = excluded.sealed",
            self._encrypt(_COUNT, after),
        )

    def _check_count(self) -> None:
        there = self._database.row("SELECT (SELECT count(*) FROM pinned_list), (SELECT count(*) FROM pinned_profile)")
        wanted = self._count()
        if there != (wanted.lists, wanted.profiles):
            raise StoreDamaged("what was pinned is missing from the store")


_COUNT = Cell("pin_count", "sealed", 1)


def _pin_cell(account: AccountId) -> Cell:
    return Cell("pinned_list", "sealed", account.bytes)


def _list_cell(account: AccountId, number: int) -> Cell:
    return Cell("device_list", "sealed", account.bytes + number.to_bytes(8))


def _profile_cell(profile: ProfileId) -> Cell:
    return Cell("pinned_profile", "sealed", profile.bytes)


def _device_cell(device: DeviceId) -> Cell:
    return Cell("known_device", "sealed", device.bytes)


class Contact(Struct, frozen=True):
    """A name and the profile it stands for. `vouched_by` is who passed the contact on, where somebody did."""

    name: str
    profile: ProfileId
    vouched_by: ProfileId | None = None


class Contacts(Table):
    """A few names, all opened to find one: a name in the clear would be an index of friends."""

    def add(self, name: str, profile: ProfileId, vouched_by: ProfileId | None = None) -> None:
        """Let `name` stand for `profile` from now on."""
        contact = Contact(name, profile, vouched_by)
        with self._database.transaction():
            self.remove(name)
            # The number is part of the associated data, and must never be given twice: see `varde.store.log`.
            (last,) = self._database.row("SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'contact'") or (
                0,
            )
            number = int(last) + 1
            self._database.run(
                "INSERT INTO contact VALUES (?, ?)", number, self._encrypt(_contact_cell(number), contact)
            )

    def remove(self, name: str) -> bool:
        """Forget a name; False when it was not there."""
        with self._database.transaction():
            gone = [number for number, contact in self._rows() if contact.name == name]
            for number in gone:
                self._database.run("DELETE FROM contact WHERE contact = ?", number)
        return bool(gone)

    def all(self) -> Mapping[str, ProfileId]:
        """Return every name and its profile."""
        return {contact.name: contact.profile for _, contact in self._rows()}

    def profile_of(self, name: str) -> ProfileId | None:
        """Return the profile a name stands for."""
        return self.all().get(name)

    def vouched_by(self, profile: ProfileId) -> ProfileId | None:
        """Return who passed a contact on, None for one that nobody did."""
        return {contact.profile: contact.vouched_by for _, contact in self._rows()}.get(profile)

    def name_of(self, profile: ProfileId) -> str | None:
        """Return the name given to a profile, the newest when there are several."""
        return {known: name for name, known in self.all().items()}.get(profile)

    def _rows(self) -> list[tuple[int, Contact]]:
        rows = self._database.rows("SELECT contact, sealed FROM contact ORDER BY contact")
        return [(number, self._decrypt(_contact_cell(number), sealed, Contact)) for number, sealed in rows]


def _contact_cell(number: int) -> Cell:
    return Cell("contact", "sealed", number)
