"""What was seen first and is believed from then on: root keys, whose a profile is, and the certificates of devices."""

from varde.store.sealing import Place
from varde.store.shelf import Shelf
from varde_contract.ids import AccountId, DeviceId, ProfileId
from varde_contract.rest.devices import Certificate


class Pins(Shelf):
    """Pins are sealed although public: nobody without the key may swap one in the file."""

    def root_key(self, account: AccountId) -> bytes | None:
        """Return the root key this account showed first."""
        row = self._database.row("SELECT sealed FROM pinned_root WHERE account = ?", account.bytes)
        return None if row is None else self._open(_root(account), row[0], bytes)

    def pin_root_key(self, account: AccountId, root_key: bytes) -> None:
        """Believe this root key from now on. Pinning another one is a bug: compare first."""
        self._database.run(
            "INSERT INTO pinned_root VALUES (?, ?)", account.bytes, self._close(_root(account), root_key)
        )

    def account_of(self, profile: ProfileId) -> AccountId | None:
        """Return whose profile it is."""
        row = self._database.row("SELECT sealed FROM pinned_profile WHERE profile = ?", profile.bytes)
        return None if row is None else self._open(_profile(profile), row[0], AccountId)

    def pin_profile(self, profile: ProfileId, account: AccountId) -> None:
        """Believe from now on that the profile is this account's."""
        self._database.run(
            "INSERT INTO pinned_profile VALUES (?, ?)", profile.bytes, self._close(_profile(profile), account)
        )

    def certificate(self, device: DeviceId) -> Certificate | None:
        """Return the verified certificate of a device, current or gone: old messages are still its own."""
        row = self._database.row("SELECT sealed FROM certificate WHERE device = ?", device.bytes)
        return None if row is None else self._open(_certificate(device), row[0], Certificate)

    def keep_certificate(self, certificate: Certificate) -> None:
        """Keep a certificate that was verified."""
        device = certificate.device
        self._database.run(
            "INSERT INTO certificate VALUES (?, ?)", device.bytes, self._close(_certificate(device), certificate)
        )


def _root(account: AccountId) -> Place:
    return Place("pinned_root", "sealed", account.bytes)


def _profile(profile: ProfileId) -> Place:
    return Place("pinned_profile", "sealed", profile.bytes)


def _certificate(device: DeviceId) -> Place:
    return Place("certificate", "sealed", device.bytes)
