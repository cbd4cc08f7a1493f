"""This account's own device list: kept up to date, and changed with the signature of this device or of the root key."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from varde.clock import now_ms
from varde.crypto.device_lists import DeviceLists, Learned, next_list, sign
from varde.crypto.keychain import OwnDevice
from varde.crypto.pairwise import load_account
from varde.crypto.root_key import new_phrase, root_key_of
from varde.errors import ListRollback, NotAllowed, NotFound, Refusal, UntrustedDevice, WrongPhrase
from varde.rest import Rest
from varde.store import Store
from varde_contract.device_list import DeviceList, ListedDevice, commitment
from varde_contract.ids import DeviceId, ProfileId
from varde_contract.refusals import RefusalCode

TRIES = 3
"""Of a change that another device of the account was faster than."""

Change = Callable[[Sequence[ListedDevice]], Iterable[ListedDevice]]
"""Makes the devices of the next list from those of the newest."""


class OwnList:
    """The device list of this store's account."""

    def __init__(self, store: Store, rest: Rest, own: OwnDevice) -> None:
        self._store = store
        self._rest = rest
        self._account, self._device = own
        self._lists = DeviceLists(store)

    def newest(self) -> DeviceList | None:
        """Return the newest list in the store."""
        return self._lists.newest(self._account)

    async def refresh(self) -> Sequence[Learned]:
        """Fetch and verify lists that are new. Raises ListRollback, RootKeyChanged, UntrustedDevice, Unreachable."""
        learned: list[Learned] = []
        while True:
            known = self.newest()
            page = (await self._rest.own_lists(1 if known is None else known.number)).lists
            # The page begins with the newest list that is known: a server that forgot it is not asked for the next.
            if known is not None and not page:
                raise ListRollback("the server does not know this account's newest device list")
            with self._store.transaction():
                fresh = self._lists.accept(self._account, [view.list for view in page])
            if not fresh:
                return learned
            learned += fresh

    async def revoke(self, device: DeviceId, recovery_phrase: str | None = None) -> None:
        """Take a device off the list for ever. Raises NotFound, and what `change` raises."""

        def without(devices: Sequence[ListedDevice]) -> Iterable[ListedDevice]:
            _check_listed(devices, device)
            return (listed for listed in devices if listed.device != device)

        await self.change(without, _root(recovery_phrase))

    async def set_manager(self, device: DeviceId, manager: bool, recovery_phrase: str | None = None) -> None:  # noqa: FBT001 - set_manager(device, True) reads as what it says
        """Let a device sign device lists, or no more. Raises what `revoke` raises."""
        await self._replace(device, recovery_phrase, manager=manager)

    async def set_valid_until(self, device: DeviceId, end: datetime | None, recovery_phrase: str | None = None) -> None:
        """Let a device end by itself at a time, or never. Raises what `revoke` raises."""
        end_ms = None if end is None else round(end.timestamp() * 1_000)
        await self._replace(device, recovery_phrase, valid_until_ms=end_ms)

    async def set_profiles(
        self, device: DeviceId, profiles: Collection[ProfileId], recovery_phrase: str | None = None
    ) -> None:
        """Let a device receive for these profiles of the account and no others. Raises what `revoke` raises."""
        salts = {view.profile: view.salt for view in (await self._rest.profiles()).profiles}
        if not salts.keys() >= set(profiles):
            raise NotFound(RefusalCode.NOT_FOUND, "The account has no such profile.")
        commitments = sorted(commitment(profile, salts[profile]) for profile in set(profiles))
        await self._replace(device, recovery_phrase, profiles=tuple(commitments))

    async def change_recovery_phrase(self, recovery_phrase: str) -> str:
        """Replace the root key at once, signed by the old one and the new one; return the new phrase.

        Everybody who writes to the account is told. Raises WrongPhrase, and what `change` raises.
        """
        phrase = new_phrase()
        old, new = root_key_of(recovery_phrase), root_key_of(phrase)
        await self.refresh()
        before = self.newest()
        if before is None or before.root_key != old.public_key().public_bytes_raw():
            raise _wrong_phrase()
        fresh = next_list(before, self._account, new.public_key().public_bytes_raw(), before.devices, now_ms())
        await self._send(fresh, sign(fresh, roots=(old, new)))
        return phrase

    async def _replace(self, device: DeviceId, recovery_phrase: str | None, **changes: Any) -> None:
        def replaced(devices: Sequence[ListedDevice]) -> Iterable[ListedDevice]:
            _check_listed(devices, device)
            return (replace(listed, **changes) if listed.device == device else listed for listed in devices)

        await self.change(replaced, _root(recovery_phrase))

    async def change(self, change: Change, root: Ed25519PrivateKey | None = None) -> DeviceList:
        """Sign and store a list with other devices; return the newest. What is as wanted already is left so.

        The root key signs, or without it this device, which then must be a manager; also where this device is new in
        the list. Raises NotAllowed, Refusal, and what `refresh` raises.
        """
        for left in range(TRIES - 1, -1, -1):
            await self.refresh()
            before = self.newest()
            devices = () if before is None else before.devices
            wanted = tuple(sorted(change(devices), key=lambda listed: listed.device))
            if before is not None and wanted == devices:
                return before
            try:
                return await self._put(before, wanted, root)
            except Refusal as refusal:
                if refusal.refusal is not RefusalCode.STALE_DEVICE_LIST or not left:
                    raise
        raise AssertionError("there is at least one try")

    async def _put(
        self, before: DeviceList | None, devices: Sequence[ListedDevice], root: Ed25519PrivateKey | None
    ) -> DeviceList:
        known = None if before is None else before.find(self._device)
        is_new = known is None and any(listed.device == self._device for listed in devices)
        if root is None and (known is None or not known.manager or not known.is_valid(now_ms())):
            raise NotAllowed(
                RefusalCode.NOT_ALLOWED, "This device is no manager. Use one that is, or the recovery phrase."
            )
        public = None if root is None else root.public_key().public_bytes_raw()
        if before is not None and public not in {None, before.root_key}:
            raise _wrong_phrase()
        root_key = public if before is None else before.root_key
        assert root_key is not None, "a device that is in no list yet has no manager's signature"
        fresh = next_list(before, self._account, root_key, devices, now_ms())
        signers = {self._device: load_account(self._store).sign} if root is None or is_new else {}
        return await self._send(fresh, sign(fresh, roots=() if root is None else (root,), signers=signers))

    async def _send(self, fresh: DeviceList, signed: bytes) -> DeviceList:
        shown = await self._rest.put_device_list(signed)
        if (shown.number, shown.list) != (fresh.number, signed):
            raise UntrustedDevice("the server did not take the device list that it answered to have taken")
        with self._store.transaction():
            self._lists.accept(self._account, [signed])
        return fresh


def _root(recovery_phrase: str | None) -> Ed25519PrivateKey | None:
    return None if recovery_phrase is None else root_key_of(recovery_phrase)


def _wrong_phrase() -> WrongPhrase:
    return WrongPhrase("this recovery phrase is not this account's")


def _check_listed(devices: Sequence[ListedDevice], device: DeviceId) -> None:
    if not any(listed.device == device for listed in devices):
        raise NotFound(RefusalCode.NOT_FOUND, "The account has no such device.")
