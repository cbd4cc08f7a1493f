"""This account's own device list: kept up to date, and changed with the signature of this device or of the root key."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
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
from varde.events import at
from varde.list_codes import DeviceCode, RootKeyCode, decode_code, encode_code, managers
from varde.lost_records import LostRecords
from varde.rest import Rest
from varde.store import Store
from varde_contract.device_list import (
    ROOT_KEY_DELAY_MS,
    DeviceList,
    ListedDevice,
    ListSignature,
    PendingRoot,
    commitment,
    decode_list,
    decode_signed_list,
    encode,
    list_hash,
    statement_to_sign,
)
from varde_contract.errors import PeerFault
from varde_contract.ids import DeviceId, ProfileId
from varde_contract.refusals import RefusalCode
from varde_contract.rest.talk import ListHead

TRIES = 3
"""Of a change that another device of the account was faster than."""

Change = Callable[[Sequence[ListedDevice]], Iterable[ListedDevice]]
"""Makes the devices of the next list from those of the newest."""


@dataclass(frozen=True, slots=True)
class RootKeyAnnouncement:
    """A new root key on its way: whose signatures are missing, and the code that they sign. None is missing: announced.

    `recovery_phrase` is there where the key was just made: show it once. It works seven days after the announcement.
    """

    missing: tuple[DeviceId, ...]
    code: str | None
    recovery_phrase: str | None = field(default=None, repr=False)


class OwnList:
    """The device list of this store's account."""

    def __init__(
        self, store: Store, rest: Rest, own: OwnDevice, lost: LostRecords, clock: Callable[[], int] = now_ms
    ) -> None:
        self._now_ms = clock
        self._store = store
        self._lost = lost
        self._rest = rest
        self._account, self._device = own
        self._lists = DeviceLists(store)

    def newest(self) -> DeviceList | None:
        """Return the newest list in the store."""
        return self._lists.newest(self._account)

    async def refresh(self) -> Sequence[Learned]:
        """Fetch and verify lists that are new. Raises ListRollback, RootKeyChanged, UntrustedDevice, Unreachable."""
        learned: list[Learned] = []
        may_put_back = True
        while True:
            known = self.newest()
            page = (await self._rest.own_lists(1 if known is None else known.number)).lists
            # The page begins with the newest list that is known: a server that forgot it is not asked for the next.
            if known is not None and not page:
                head = await self._head()
                # All who hold it put it back in the same moment: by now it may be there. Once only, or a server that
                # takes it and goes on showing nothing would be asked for ever.
                if may_put_back and (head.number >= known.number or await self._lost.put_back_lists(head)):
                    may_put_back = False
                    continue
                raise ListRollback("the server does not know this account's newest device list")
            with self._store.transaction():
                fresh = self._lists.accept(self._account, [view.list for view in page])
            if not fresh:
                return learned
            learned += fresh

    async def _head(self) -> ListHead:
        """Return the newest of this account's lists that the server has; number 0 for none."""
        # No signature is checked here: the head only says from where to put back, and is compared with the list held
        # here before.
        head = ListHead(self._account, 0, b"")
        while page := (await self._rest.own_lists(head.number + 1)).lists:
            try:
                newest = decode_list(decode_signed_list(page[-1].list).statement)
            except PeerFault:
                raise UntrustedDevice("the server shows what is no device list") from None
            head = ListHead(self._account, newest.number, list_hash(newest))
        return head

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

    async def add(self, code: str) -> ListedDevice:
        """Add the device that a code of `varde.request_device` is from, signed by this one, which must be a manager.

        The device has signed the same list, so both have been shown the same history. Raises UnusableCode, NotAllowed,
        Refusal, and what `refresh` raises.
        """
        asked = decode_code(code, DeviceCode)
        await self.refresh()
        before = self._newest_for_manager()
        if (listed := before.find(asked.device.device)) == asked.device:
            return listed  # the answer to an earlier try never came
        fresh = asked.next_list(before)
        signatures = {asked.device.device: lambda _: asked.signature, self._device: load_account(self._store).sign}
        await self._send(fresh, sign(fresh, signers=signatures))
        return asked.device

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
        fresh = next_list(before, self._account, new.public_key().public_bytes_raw(), before.devices, self._now_ms())
        await self._send(fresh, sign(fresh, roots=(old, new)))
        return phrase

    async def announce_root_key(self) -> RootKeyAnnouncement:
        """The recovery phrase is lost: make a new one, and announce its root key, which all managers sign together.

        Where this device is the only manager that is all. Everybody who writes to the account is told. Raises
        NotAllowed, Refusal, and what `refresh` raises.
        """
        await self.refresh()
        before, phrase = self._newest_for_manager(), new_phrase()
        issued_ms = max(self._now_ms(), before.issued_ms)
        public = root_key_of(phrase).public_key().public_bytes_raw()
        # The phrase is made here and shown here only: other managers sign a public key.
        code = RootKeyCode(before.number + 1, issued_ms, PendingRoot(public, issued_ms + ROOT_KEY_DELAY_MS), ())
        done = await self._sign_root_key(before, code)
        return RootKeyAnnouncement(done.missing, done.code, phrase)

    async def sign_root_key(self, code: str) -> RootKeyAnnouncement:
        """Sign a new root key that another manager has made; with the last signature it is announced.

        All must sign within an hour. Raises UnusableCode, and what `announce_root_key` raises.
        """
        await self.refresh()
        return await self._sign_root_key(self._newest_for_manager(), decode_code(code, RootKeyCode))

    async def cancel_root_key(self, recovery_phrase: str | None = None) -> None:
        """Announce no new root key any more. Raises what `change` raises."""
        await self.change(lambda devices: devices, _root(recovery_phrase), cancel=True)

    async def finish_root_key(self, recovery_phrase: str) -> None:
        """Make the announced root key the account's, after its seven days. Raises NotAllowed before, WrongPhrase."""
        await self.change(lambda devices: devices, _root(recovery_phrase))

    async def _sign_root_key(self, before: DeviceList, code: RootKeyCode) -> RootKeyAnnouncement:
        fresh = code.next_list(before)
        signatures = {**code.by_device, self._device: self._sign(fresh)}
        missing = tuple(each.device for each in managers(before, fresh) if each.device not in signatures)
        if not missing:
            signers = {device: lambda _, made=made: made for device, made in signatures.items()}
            await self._send(fresh, sign(fresh, signers=signers))
            return RootKeyAnnouncement((), None)
        made = tuple(ListSignature(*each) for each in signatures.items())
        return RootKeyAnnouncement(missing, encode_code(replace(code, signatures=made)))

    def _newest_for_manager(self) -> DeviceList:
        newest = self.newest()
        known = None if newest is None else newest.find(self._device)
        if newest is None or known is None or not known.manager or not known.is_valid(self._now_ms()):
            raise _no_manager()
        return newest

    def _sign(self, fresh: DeviceList) -> bytes:
        return load_account(self._store).sign(statement_to_sign(encode(fresh)))

    async def _replace(self, device: DeviceId, recovery_phrase: str | None, **changes: Any) -> None:
        def replaced(devices: Sequence[ListedDevice]) -> Iterable[ListedDevice]:
            _check_listed(devices, device)
            return (replace(listed, **changes) if listed.device == device else listed for listed in devices)

        await self.change(replaced, _root(recovery_phrase))

    async def change(
        self, change: Change, root: Ed25519PrivateKey | None = None, *, cancel: bool = False
    ) -> DeviceList:
        """Sign and store a list with other devices; return the newest. What is as wanted already is left so.

        The root key signs, or without it this device, which then must be a manager; also where this device is new in
        the list. A root key that was announced signs after its seven days, and is the account's then; `cancel` ends an
        announcement. Raises NotAllowed, WrongPhrase, Refusal, and what `refresh` raises.
        """
        for left in range(TRIES - 1, -1, -1):
            await self.refresh()
            before = self.newest()
            devices = () if before is None else before.devices
            # From the newest list at each try: another device may have taken off what this one would put back.
            wanted = tuple(sorted(change(devices), key=lambda listed: listed.device))
            root_key = self._root_key(before, root)
            stays = before is not None and (wanted, root_key) == (devices, before.root_key)
            if before is not None and stays and not (cancel and before.pending_root is not None):
                return before
            if root is None:
                self._newest_for_manager()
            fresh = next_list(before, self._account, root_key, wanted, self._now_ms())
            try:
                return await self._put(before, replace(fresh, pending_root=None) if cancel else fresh, root)
            except Refusal as refusal:
                if refusal.refusal is not RefusalCode.STALE_DEVICE_LIST or not left:
                    raise
        raise AssertionError("there is at least one try")

    def _root_key(self, before: DeviceList | None, root: Ed25519PrivateKey | None) -> bytes:
        """Return the root key of the next list; `root`, where there is one, must be allowed to sign it."""
        if root is None:
            return self._newest_for_manager().root_key if before is None else before.root_key
        public = root.public_key().public_bytes_raw()
        if before is None or public == before.root_key:
            return public
        pending = before.pending_root
        if pending is None or public != pending.root_key:
            raise _wrong_phrase()
        if self._now_ms() < pending.effective_ms:
            when = f"{at(pending.effective_ms):%Y-%m-%d %H:%M} UTC"
            raise NotAllowed(RefusalCode.NOT_ALLOWED, f"This recovery phrase works from {when} on.")
        return public

    async def _put(self, before: DeviceList | None, fresh: DeviceList, root: Ed25519PrivateKey | None) -> DeviceList:
        is_new = fresh.find(self._device) is not None and (before is None or before.find(self._device) is None)
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


def _no_manager() -> NotAllowed:
    return NotAllowed(RefusalCode.NOT_ALLOWED, "This device is no manager. Use one that is, or the recovery phrase.")


def _wrong_phrase() -> WrongPhrase:
    return WrongPhrase("this recovery phrase is not this account's")


def _check_listed(devices: Sequence[ListedDevice], device: DeviceId) -> None:
    if not any(listed.device == device for listed in devices):
        raise NotFound(RefusalCode.NOT_FOUND, "The account has no such device.")
