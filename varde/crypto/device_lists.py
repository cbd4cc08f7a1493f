"""Device lists as this device knows them: every account's whole history, verified, and pinned at its newest list.

A server that shows an older list than before, or another one of the same number, is found out here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from varde.errors import ListRollback, NotFound, RootKeyChanged, UntrustedDevice
from varde.store.people import KnownDevice, PinnedList
from varde.store.store import Store
from varde_contract.device_list import (
    DeviceList,
    ListedDevice,
    SignedDeviceList,
    decode_list,
    decode_signed_list,
    encode,
    judge,
    list_hash,
    sign_list,
    statement_to_sign,
)
from varde_contract.errors import PeerFault
from varde_contract.ids import AccountId, DeviceId
from varde_contract.links import root_key_hash
from varde_contract.refusals import RefusalCode
from varde_contract.rest.talk import ListHead

EXPIRY_GRACE_MS = 5 * 60 * 1_000
"""A device is written to for this long after its time: the server needs a moment to end it, and clocks differ."""

Sign = Callable[[bytes], bytes]
"""Signs a statement with the private half of some signing key."""


class Learned(NamedTuple):
    """One step of an account's history that was new to this device."""

    before: DeviceList | None
    after: DeviceList


class DeviceLists:
    """The verified device lists in the store. Changes run inside a transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def newest(self, account: AccountId) -> DeviceList | None:
        """Return the newest list of an account that was verified."""
        pinned = self._store.pins.newest(account)
        return None if pinned is None else self.at(account, pinned.number)

    def at(self, account: AccountId, number: int) -> DeviceList:
        """Return a list that was verified."""
        return decode_list(self.signed(account, number).statement)

    def signed(self, account: AccountId, number: int) -> SignedDeviceList:
        """Return a list that was verified, with its signatures."""
        return decode_signed_list(self._store.pins.signed_list(account, number))

    def root_key(self, account: AccountId) -> bytes | None:
        """Return the root key of the newest list."""
        newest = self.newest(account)
        return None if newest is None else newest.root_key

    def known_root_key(self, account: AccountId) -> bytes:
        """Return the root key of the newest list. Raises NotFound for an account never met."""
        found = self.root_key(account)
        if found is None:
            raise NotFound(RefusalCode.NOT_FOUND, "This device has not met that account yet.")
        return found

    def root_hashes(self, account: AccountId) -> frozenset[bytes]:
        """Return the hash of each root key that the account has had, the present one included."""
        newest = self._store.pins.newest(account)
        numbers = range(1, 1 + (0 if newest is None else newest.number))
        return frozenset(root_key_hash(self.at(account, number).root_key) for number in numbers)

    def accept(self, account: AccountId, encoded: Iterable[bytes]) -> Sequence[Learned]:
        """Verify lists that follow those in the store, and keep them. One that is there already must be the same.

        Raises RootKeyChanged where another root key signs than the list before allows, ListRollback for a list that
        follows none that is known, UntrustedDevice for any other that the rules refuse.
        """
        learned = []
        for signed in encoded:
            before = self.newest(account)
            try:
                parsed = decode_signed_list(signed)
                number = decode_list(parsed.statement).number
                if before is not None and number <= before.number:
                    self._check_known(account, number, signed)
                    continue
                after = _judge(account, before, parsed)
            except PeerFault as fault:
                raise UntrustedDevice(f"an account's device list breaks a rule: {fault}") from None
            # Kept for ever, also when it is gone from the list: what it wrote before may still come.
            for listed in after.devices:
                self._keep_device(account, listed)
            self._store.pins.put_list(account, PinnedList(after.number, list_hash(after)), signed)
            learned.append(Learned(before, after))
        return learned

    def missing_from(self, head: ListHead) -> int | None:
        """Return the number from which lists are missing, None when this is the newest known.

        Raises ListRollback where the server shows an older list, or another of the same number.
        """
        pinned = self._store.pins.newest(head.account)
        if pinned is None or pinned.number < head.number:
            return 1 if pinned is None else pinned.number + 1
        if pinned != PinnedList(head.number, head.hash):
            raise ListRollback("an account has another device list than the one seen before")
        return None

    def _check_known(self, account: AccountId, number: int, signed: bytes) -> None:
        if self._store.pins.signed_list(account, number) != signed:
            raise ListRollback("an account has another device list than the one seen before")

    def _keep_device(self, account: AccountId, listed: ListedDevice) -> None:
        known = self._store.pins.device(listed.device)
        profiles = frozenset(listed.profiles) | (frozenset() if known is None else known.profiles)
        kept = KnownDevice(account, listed.device, listed.noise_key, listed.signing_key, listed.identity_key, profiles)
        if known is None or known != kept:
            # An id that was taken off a list and comes back with other keys follows the rules of lists, which look one
            # list back. Here it would put new words into the mouth of the old device.
            if known is not None and (known.account, known.signing_key, known.identity_key) != (
                account,
                listed.signing_key,
                listed.identity_key,
            ):
                raise UntrustedDevice("a device shows other keys, or another account, than before")
            self._store.pins.put_device(kept)


def is_current(listed: ListedDevice, now_ms: int) -> bool:
    """Whether a listed device may still be written to."""
    return listed.is_valid(now_ms - EXPIRY_GRACE_MS)


def next_list(
    before: DeviceList | None,
    account: AccountId,
    root_key: bytes,
    devices: Iterable[ListedDevice],
    now_ms: int,
) -> DeviceList:
    """Return the list that follows `before`, with these devices. An announced root key is kept, for its time."""
    ordered = tuple(sorted(devices, key=lambda listed: listed.device))
    if before is None:
        return DeviceList(account, 1, None, root_key, ordered, None, now_ms)
    pending = before.pending_root if before.root_key == root_key else None
    # A clock that was set back must not make a list that the rules refuse.
    issued_ms = max(now_ms, before.issued_ms)
    return DeviceList(account, before.number + 1, list_hash(before), root_key, ordered, pending, issued_ms)


def sign(
    devices: DeviceList, *, roots: Sequence[Ed25519PrivateKey] = (), signers: Mapping[DeviceId, Sign] | None = None
) -> bytes:
    """Return the list with its signatures, encoded."""
    statement = statement_to_sign(encode(devices))
    by_device = {device: signer(statement) for device, signer in (signers or {}).items()}
    return encode(sign_list(devices, by_device, *(root.sign(statement) for root in roots)))


def _judge(account: AccountId, before: DeviceList | None, signed: SignedDeviceList) -> DeviceList:
    claimed = decode_list(signed.statement)
    if claimed.account != account:
        raise UntrustedDevice("the server shows the device list of another account")
    if before is not None and (claimed.number, claimed.previous) != (before.number + 1, list_hash(before)):
        raise ListRollback("an account's device list does not follow the one seen before")
    try:
        return judge(before, signed)
    except PeerFault:
        if before is not None and claimed.root_key != before.root_key:
            raise RootKeyChanged("an account shows a root key that the one seen before does not vouch for") from None
        raise
