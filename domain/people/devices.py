"""Devices as their owner sees them, and how one comes back in a new session."""

from collections.abc import Sequence
from typing import Final

from domain.people.model import Actor, Device
from domain.people.ports import AdoptFault, DeviceStore
from varde_contract.ids import DeviceId
from varde_contract.public_keys import is_signed
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.signed_statements import session_statement

_NO_DEVICE: Final = Refused(RefusalCode.NO_DEVICE, "This session has no device. Register one first.")
_NOT_PROVEN: Final = Refused(
    RefusalCode.BAD_SIGNATURE, "The proof is not signed by the device's signing key for this session. Sign it anew."
)
_OTHER_DEVICE: Final = Refused(
    RefusalCode.SESSION_HAS_DEVICE, "This session has another device, or has ended. Sign in again for this device."
)
_UNKNOWN: Final = Refused(RefusalCode.NOT_FOUND, "The account has no such device.")


class Devices:
    """The devices of all accounts, each seen by its owner."""

    def __init__(self, store: DeviceStore) -> None:
        self._store = store

    async def adopt(self, actor: Actor, device: DeviceId, signature: bytes) -> Device | Refused:
        """Let a device whose session ended come back in the actor's. Asked again, it answers the same.

        The device's signing key signs for this very session: a mailbox alone opens sessions, but adopts nothing. One
        device has one session, so the device's others end with it. That breaks no running client: whoever holds the
        key has signed in anew, and so given up the session before, if it was not dead already. Tickets and rosters stay
        as they are, because the device does.

        Refuses `not-found`, `bad-signature` and `session-has-device`.
        """
        kept = await self._store.find(actor.account, device)
        if kept is None:
            return _UNKNOWN
        if not is_signed(session_statement(actor.session, device), signature, kept.signing_key):
            return _NOT_PROVEN
        match await self._store.adopt(actor.account, device, actor.session):
            case AdoptFault.NO_DEVICE:
                return _UNKNOWN
            case AdoptFault.SESSION_BOUND:
                return _OTHER_DEVICE
        return kept

    async def list_all(self, actor: Actor) -> Sequence[Device]:
        """Return the account's devices that are not revoked, oldest first."""
        return await self._store.list_all(actor.account)

    async def find_own(self, actor: Actor) -> Device | Refused:
        """Return the device that the actor's session is bound to. Refuses `no-device`."""
        device = None if actor.device is None else await self._store.find(actor.account, actor.device)
        return device or _NO_DEVICE
