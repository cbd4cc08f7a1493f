"""Devices: registered under the root key's signature, each with the profiles it receives for, revoked for ever."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from domain.events import Event
from domain.people.events import DevicesChanged, TicketsRevoked
from domain.people.model import Actor, Device, Registration, RosterChange
from domain.people.ports import AccountStore, AdoptFault, DeviceAddFault, DeviceStore, ProfileStore
from domain.ports import Bus, Clock
from varde_contract.ids import DeviceId, ProfileId
from varde_contract.limits import DEVICES_PER_ACCOUNT
from varde_contract.public_keys import is_good_exchange_key, is_good_signing_key, is_signed
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.signed_statements import device_statement, session_statement

_NO_ROOT_KEY: Final = Refused(RefusalCode.NO_ROOT_KEY, "The account has no root key yet. Set it first.")
_BAD_KEY: Final = Refused(RefusalCode.BAD_KEY, "A key of the device is not a usable public key. Make new ones.")
_BAD_SIGNATURE: Final = Refused(
    RefusalCode.BAD_SIGNATURE, "The certificate is not signed by the account's root key. Check the recovery phrase."
)
_NOT_YOURS: Final = Refused(RefusalCode.PROFILE_NOT_ALLOWED, "The whitelist may name only profiles of the account.")
_SESSION_BOUND: Final = Refused(
    RefusalCode.SESSION_HAS_DEVICE, "This session has a device. Sign in again to register another one."
)
_EXISTS: Final = Refused(RefusalCode.DEVICE_EXISTS, "A device with this id exists or existed. Choose a fresh id.")
_TOO_MANY: Final = Refused(
    RefusalCode.TOO_MANY, f"An account has at most {DEVICES_PER_ACCOUNT} devices. Revoke one you no longer use."
)
_NO_DEVICE: Final = Refused(RefusalCode.NO_DEVICE, "This session has no device. Register one first.")
_NOT_PROVEN: Final = Refused(
    RefusalCode.BAD_SIGNATURE, "The proof is not signed by the device's signing key for this session. Sign it anew."
)
_OTHER_DEVICE: Final = Refused(
    RefusalCode.SESSION_HAS_DEVICE, "This session has another device, or has ended. Sign in again for this device."
)
_UNKNOWN: Final = Refused(RefusalCode.NOT_FOUND, "The account has no such device.")


@dataclass(frozen=True, slots=True)
class Registered:
    """A device on its session; without `made` it had been registered by the same request before."""

    device: Device
    made: bool


class Devices:
    """The devices of all accounts, each seen by its owner."""

    def __init__(
        self, store: DeviceStore, accounts: AccountStore, profiles: ProfileStore, bus: Bus, *, clock: Clock
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._profiles = profiles
        self._bus = bus
        self._clock = clock

    async def register(self, actor: Actor, new: Registration) -> Registered | Refused:
        """Register the device that the actor's session runs on. Asked again word for word, it answers the same.

        Refuses `bad-key`, `no-root-key`, `bad-signature`, `profile-not-allowed`, `session-has-device`,
        `device-exists` and `too-many`.
        """
        refused = await self._check(actor, new)
        if refused is not None:
            return refused
        device = _device(actor, new, self._clock())
        moves = await self._store.add(device, actor.session, most=DEVICES_PER_ACCOUNT)
        match moves:
            case DeviceAddFault.SESSION_BOUND:
                return await self._registered_before(actor, device) or _SESSION_BOUND
            case DeviceAddFault.EXISTS:
                return await self._registered_before(actor, device) or _EXISTS
            case DeviceAddFault.TOO_MANY:
                return _TOO_MANY
        await self._announce(moves)
        return Registered(device, made=True)

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

    async def set_profiles(self, actor: Actor, device: DeviceId, profiles: Sequence[ProfileId]) -> Device | Refused:
        """Replace a whitelist. The device's connection is cut and its tickets are void: it needs one that says so.

        Refuses `not-found` and `profile-not-allowed`.
        """
        if not await self._owns(actor, profiles):
            return _NOT_YOURS
        moves = await self._store.set_profiles(actor.account, device, _distinct(profiles), self._clock())
        if moves is None:
            return _UNKNOWN
        # The change may have waited for others, and tickets were issued meanwhile from the whitelist as it was. A time
        # after the change is later than any of them; the store's own time is for the case that this is not reached.
        now = self._clock()
        await self._store.void_tickets(actor.account, device, now)
        await self._announce(moves, TicketsRevoked(device, now, final=False))
        return await self._store.find(actor.account, device) or _UNKNOWN

    async def revoke(self, actor: Actor, device: DeviceId) -> Refused | None:
        """Revoke a device for ever, be it one's own: live connection, tickets, sessions, prekeys, waiting messages.

        Refuses `not-found`, also when it was revoked before.
        """
        now = self._clock()
        moves = await self._store.revoke(actor.account, device, now)
        if moves is None:
            return _UNKNOWN
        await self._announce(moves, TicketsRevoked(device, now, final=True))
        return None

    async def _check(self, actor: Actor, new: Registration) -> Refused | None:
        if not (is_good_signing_key(new.signing_key) and all(map(is_good_exchange_key, _exchange_keys(new)))):
            return _BAD_KEY
        account = await self._accounts.find(actor.account)
        if account is None or account.root_key is None:
            return _NO_ROOT_KEY
        # A stolen session lacks this: whoever reads the mailbox can sign in, but adds no device that others trust.
        if not is_signed(_statement(actor, new), new.signature, account.root_key):
            return _BAD_SIGNATURE
        return None if await self._owns(actor, new.profiles) else _NOT_YOURS

    async def _owns(self, actor: Actor, profiles: Sequence[ProfileId]) -> bool:
        own = {profile.id for profile in await self._profiles.list_all(actor.account)}
        return own.issuperset(profiles)

    async def _registered_before(self, actor: Actor, device: Device) -> Registered | None:
        """The answer to a first try may have been lost on its way; the client cannot know."""
        kept = await self._store.find(actor.account, device.id) if actor.device == device.id else None
        if kept is None or kept.signature != device.signature or set(kept.profiles) != set(device.profiles):
            return None
        return Registered(kept, made=False)

    async def _announce(self, moves: Sequence[RosterChange], *first: Event) -> None:
        # The revocation leads: it cuts a connection, the others only make rosters be read again.
        events = [*first, *(DevicesChanged(move.conversation, move.version) for move in moves)]
        if events:
            await self._bus.publish(events)


def _device(actor: Actor, new: Registration, now_ms: int) -> Device:
    return Device(
        account=actor.account,
        id=new.device,
        noise_key=new.noise_key,
        signing_key=new.signing_key,
        identity_key=new.identity_key,
        signature=new.signature,
        profiles=_distinct(new.profiles),
        created_ms=now_ms,
    )


def _statement(actor: Actor, new: Registration) -> bytes:
    return device_statement(
        actor.account,
        new.device,
        noise_key=new.noise_key,
        signing_key=new.signing_key,
        identity_key=new.identity_key,
    )


def _exchange_keys(new: Registration) -> tuple[bytes, bytes]:
    return new.noise_key, new.identity_key


def _distinct(profiles: Sequence[ProfileId]) -> tuple[ProfileId, ...]:
    return tuple(dict.fromkeys(profiles))
