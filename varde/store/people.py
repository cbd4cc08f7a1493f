"""What this device knows of others: pinned root keys, whose a profile is, device certificates, local names."""

from collections.abc import Mapping

from msgspec import Struct

from varde.store.table import Cell, Table
from varde_contract.ids import AccountId, DeviceId, ProfileId
from varde_contract.rest.people import Certificate


class Pins(Table):
    """What was seen first and must not change. Encrypted although public, so that nobody can swap a pin in the file."""

    def root_key(self, account: AccountId) -> bytes | None:
        """Return the root key this account showed first."""
        row = self._database.row("SELECT sealed FROM pinned_root WHERE account = ?", account.bytes)
        return None if row is None else self._decrypt(_root_cell(account), row[0], bytes)

    def pin_root_key(self, account: AccountId, root_key: bytes) -> None:
        """Trust this root key from now on. Pinning another one is a bug: compare first."""
        self._database.run(
            "INSERT INTO pinned_root VALUES (?, ?)", account.bytes, self._encrypt(_root_cell(account), root_key)
        )

    def account_of(self, profile: ProfileId) -> AccountId | None:
        """Return whose profile it is."""
        row = self._database.row("SELECT sealed FROM pinned_profile WHERE profile = ?", profile.bytes)
        return None if row is None else self._decrypt(_profile_cell(profile), row[0], AccountId)

    def pin_profile(self, profile: ProfileId, account: AccountId) -> None:
        """Trust from now on that the profile is this account's."""
        self._database.run(
            "INSERT INTO pinned_profile VALUES (?, ?)", profile.bytes, self._encrypt(_profile_cell(profile), account)
        )

    def certificate(self, device: DeviceId) -> Certificate | None:
        """Return the verified certificate of a device, current or gone: old messages are still its own."""
        row = self._database.row("SELECT sealed FROM certificate WHERE device = ?", device.bytes)
        return None if row is None else self._decrypt(_certificate_cell(device), row[0], Certificate)

    def keep_certificate(self, certificate: Certificate) -> None:
        """Keep a certificate that was verified."""
        device = certificate.device
        self._database.run(
            "INSERT INTO certificate VALUES (?, ?)", device.bytes, self._encrypt(_certificate_cell(device), certificate)
        )


def _root_cell(account: AccountId) -> Cell:
    return Cell("pinned_root", "sealed", account.bytes)


def _profile_cell(profile: ProfileId) -> Cell:
    return Cell("pinned_profile", "sealed", profile.bytes)


def _certificate_cell(device: DeviceId) -> Cell:
    return Cell("certificate", "sealed", device.bytes)


class Contact(Struct, frozen=True):
    """A name and the profile it stands for."""

    name: str
    profile: ProfileId


class Contacts(Table):
    """A few names, all opened to find one: a name in the clear would be an index of friends."""

    def add(self, name: str, profile: ProfileId) -> None:
        """Let `name` stand for `profile` from now on."""
        contact = Contact(name, profile)
        with self._database.transaction():
            self.remove(name)
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

    def name_of(self, profile: ProfileId) -> str | None:
        """Return the name given to a profile, the newest when there are several."""
        return {known: name for name, known in self.all().items()}.get(profile)

    def _rows(self) -> list[tuple[int, Contact]]:
        rows = self._database.rows("SELECT contact, sealed FROM contact ORDER BY contact")
        return [(number, self._decrypt(_contact_cell(number), sealed, Contact)) for number, sealed in rows]


def _contact_cell(number: int) -> Cell:
    return Cell("contact", "sealed", number)
