"""Prekeys: uploaded by a device, claimed by those who want to write to it while it is away."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from domain.budgets import Budget, Budgets
from domain.people.events import KeysLow
from domain.people.model import Actor, ClaimedPrekey, Device, Prekey
from domain.people.ports import DeviceRoster, DeviceStore, InviteeStore, PrekeyStore, RosterStore
from domain.ports import Bus, Clock
from varde_contract.ids import AccountId, ConversationId, DeviceId
from varde_contract.kem import is_good_kem_key
from varde_contract.limits import ONE_TIME_KEYS_PER_DEVICE
from varde_contract.public_keys import is_good_exchange_key, is_signed
from varde_contract.refusals import RefusalCode, Refused, StaleDevices
from varde_contract.signed_statements import fallback_key_statement, one_time_key_statement

HOUR: Final = 3_600_000
# One claim opens a session that lasts. Twenty in an hour are for all devices of an account, once, and for a client that
# lost its store; more would be somebody who drains another's one-time keys, so that everybody else has to use the
# fallback key again and again. Accounts are counted and not devices: an account makes devices as it likes.
CLAIMS_PER_ACCOUNT: Final = 20
CLAIM_WINDOW: Final = 1 * HOUR
KEYS_LOW: Final = 20
"""Below the 25 at which the SDK fills up: whoever is told has something to upload."""

_NO_DEVICE: Final = Refused(RefusalCode.NO_DEVICE, "This session has no device. Register one first.")
_TOO_MANY: Final = Refused(RefusalCode.TOO_MANY, f"A device has at most {ONE_TIME_KEYS_PER_DEVICE} one-time keys.")
_NO_CONVERSATION: Final = Refused(RefusalCode.NOT_FOUND, "This device belongs to no such conversation.")
_OWN_KEYS: Final = Refused(RefusalCode.NOT_ALLOWED, "A device does not claim its own keys. Leave it out of devices.")
_CLAIM_LIMIT: Final = Refused(
    RefusalCode.CLAIM_LIMIT,
    "Keys of one of these devices were claimed too often. Use the sessions you have.",
    retry_after_ms=CLAIM_WINDOW,
)


@dataclass(frozen=True, slots=True)
class KeyCount:
    """How many one-time keys a device has on the server, and whether a fallback key."""

    one_time: int
    has_fallback: bool


@dataclass(frozen=True, slots=True)
class Claimed:
    """The keys taken, and the devices that had none, not even a fallback key."""

    keys: Sequence[ClaimedPrekey]
    without: Sequence[DeviceId]


class Prekeys:
    """The prekeys of all devices: uploaded by the device itself, claimed by those it shares a conversation with."""

    def __init__(
        self,
        store: PrekeyStore,
        devices: DeviceStore,
        rosters: RosterStore,
        invitees: InviteeStore,
        bus: Bus,
        budgets: Budgets,
        *,
        clock: Clock,
    ) -> None:
        self._store = store
        self._devices = devices
        self._rosters = rosters
        self._invitees = invitees
        self._bus = bus
        self._budgets = budgets
        self._clock = clock

    async def upload(self, actor: Actor, one_time: Sequence[Prekey], fallback: Prekey | None) -> KeyCount | Refused:
        """Add one-time keys of the actor's device and, when given, replace its fallback key. All or nothing.

        Refuses `no-device`, `bad-key`, `bad-signature` and `too-many`.
        """
        device = await self._device_of(actor)
        if device is None:
            return _NO_DEVICE
        # Before the signatures are checked: that is what an upload costs.
        refused = self._budgets.spend(actor.account, Budget.PREKEYS, len(one_time) + 1) or _judge(
            device, one_time, fallback
        )
        if refused is not None:
            return refused
        stored = await self._store.upload(device.account, device.id, one_time, fallback, most=ONE_TIME_KEYS_PER_DEVICE)
        return _TOO_MANY if stored is None else KeyCount(*stored)

    async def count(self, actor: Actor) -> KeyCount | Refused:
        """Count what the actor's device has on the server. Refuses `no-device`."""
        if actor.device is None:
            return _NO_DEVICE
        return KeyCount(*await self._store.count(actor.account, actor.device))

    async def claim(self, actor: Actor, conversation: ConversationId, devices: Sequence[DeviceId]) -> Claimed | Refused:
        """Take one key of each of these devices, first in first out; the fallback key when none is left.

        They are in the roster, or of somebody whom the actor's account invited and who did not answer yet.

        Refuses `no-device`, `not-found`, `not-allowed`, `stale-devices` (saying which are gone) and `claim-limit`.
        """
        if actor.device is None:
            return _NO_DEVICE
        wanted = tuple(dict.fromkeys(devices))
        roster = (await self._rosters.rosters([conversation])).get(conversation)
        if roster is None or actor.device not in roster.devices:
            return _NO_CONVERSATION
        if actor.device in wanted:
            return _OWN_KEYS
        absent = tuple(device for device in wanted if device not in roster.devices)
        # For the first words to somebody who is invited. The rule about the account's invitations bounds it.
        invited = await self._invitees.invited_devices(actor.account, conversation) if absent else {}
        gone = tuple(device for device in absent if device not in invited)
        if gone:
            return _stale(roster, gone)
        over = self._budgets.spend(actor.account, Budget.CLAIMS, len(wanted))
        owned = [(invited.get(device) or roster.account_of(device), device) for device in wanted]
        return over or await self._take(actor.account, owned)

    async def _take(self, claimer: AccountId, wanted: Sequence[tuple[AccountId, DeviceId]]) -> Claimed | Refused:
        keys = await self._store.claim(
            claimer,
            wanted,
            now_ms=self._clock(),
            window_ms=CLAIM_WINDOW,
            most=CLAIMS_PER_ACCOUNT,
        )
        if keys is None:
            return _CLAIM_LIMIT
        # Told at every claim below the mark, not once: the device may be away, and a doorbell may be lost.
        low = [KeysLow(claimed.device, claimed.left) for claimed in keys if claimed.left <= KEYS_LOW]
        if low:
            await self._bus.publish(low)
        had = {claimed.device for claimed in keys}
        return Claimed(keys, tuple(device for _, device in wanted if device not in had))

    async def _device_of(self, actor: Actor) -> Device | None:
        return None if actor.device is None else await self._devices.find(actor.account, actor.device)


def _judge(device: Device, one_time: Sequence[Prekey], fallback: Prekey | None) -> Refused | None:
    """Refuse the first key that is no good, by the name it has in the request."""
    signed = [
        (f"one_time_keys[{index}]", prekey, one_time_key_statement(device.id, prekey.key, prekey.kem_key))
        for index, prekey in enumerate(one_time)
    ]
    if fallback is not None:
        signed.append(("fallback_key", fallback, fallback_key_statement(device.id, fallback.key, fallback.kem_key)))
    for name, prekey, _ in signed:
        if not is_good_exchange_key(prekey.key):
            told = f"{name}.key is no usable Curve25519 public key. Make a new pair."
            return Refused(RefusalCode.BAD_KEY, told)
        if not is_good_kem_key(prekey.kem_key):
            return Refused(RefusalCode.BAD_KEY, f"{name}.kem_key is no usable KEM public key. Make a new pair.")
    for name, prekey, statement in signed:
        if not is_signed(statement, prekey.signature, device.signing_key):
            told = f"{name}.signature is none of the device's signing key over the label, the device and the two keys."
            return Refused(RefusalCode.BAD_SIGNATURE, told)
    return None


def _stale(roster: DeviceRoster, gone: tuple[DeviceId, ...]) -> Refused:
    return Refused(
        RefusalCode.STALE_DEVICES,
        "Some of these devices are not in the roster any more. Read the conversation again.",
        stale=StaleDevices(roster.version, gone=gone),
    )
