"""The stores and the mail that the rules about people need, as Protocols.

Every method may raise `StoreUnavailable`, and is a checkpoint. A call that changes something is one transaction.
"""

import enum
from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from domain.people.model import (
    Account,
    ClaimedPrekey,
    Device,
    Expired,
    ListChange,
    OneTimeCode,
    Prekey,
    Profile,
    Revocation,
    RosterChange,
    Session,
    StoredList,
)
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId, SessionId
from varde_contract.people import Policies, Theme


class AccountStore(Protocol):
    """Accounts."""

    async def find(self, account: AccountId) -> Account | None:
        """Return the account."""

    async def put_back(self, account: AccountId, profiles: Sequence[Profile]) -> None:
        """Let an account and profiles of it that were lost be known again; those that are known stay as they are."""


class SignInStore(Protocol):
    """One-time codes and whose address is whose, by keyed digest of the address."""

    async def put_code(self, address: bytes, code: OneTimeCode, *, now_ms: int, window_ms: int, most: int) -> bool:
        """Replace the address's code. False when `most` codes were put within the last `window_ms`."""

    async def take_attempt(self, address: bytes) -> OneTimeCode | None:
        """Use up one attempt, atomically, and return the code as it was before; with no attempts left it was used up.

        None when there is none. An expired code is returned as long as no sweep has deleted it.
        """

    async def consume_code(self, address: bytes, code_digest: bytes) -> bool:
        """Delete this code. True for exactly one of several callers."""

    async def account_of(
        self, address: bytes, fresh: AccountId, now_ms: int, *, known_as: Sequence[bytes] = ()
    ) -> tuple[Account, bool]:
        """Return the address's account, made as `fresh` when there is none; True when it was made now.

        `known_as` are other digests of the same address: an account that has one of them gets this one instead.
        """


class SessionStore(Protocol):
    """Sessions."""

    async def add(self, session: Session) -> None:
        """Store a new session."""

    async def find(self, account: AccountId, session: SessionId) -> Session | None:
        """Return the session."""

    async def rotate(self, session: Session, *, old_refresh_digest: bytes) -> bool:
        """Replace digests and times, only where the refresh digest still is the old one. The device stays bound."""

    async def mark_used(self, account: AccountId, session: SessionId, access_digest: bytes) -> None:
        """Note that the tokens of this access digest arrived. Nothing happens when they are not the present ones."""

    async def end(self, account: AccountId, session: SessionId) -> bool:
        """Delete the session. False when there was none."""

    async def list_live(self, account: AccountId, now_ms: int) -> Sequence[Session]:
        """Return the sessions whose refresh token is still good, oldest first."""


class ProfileStore(Protocol):
    """Profiles."""

    async def add(self, profile: Profile, most: int) -> bool:
        """Store a new profile. False when the account already has `most`."""

    async def find(self, account: AccountId, profile: ProfileId) -> Profile | None:
        """Return the profile, only of this account."""

    async def list_all(self, account: AccountId) -> Sequence[Profile]:
        """Return the account's profiles, oldest first."""

    async def replace(self, account: AccountId, profile: ProfileId, theme: Theme, policies: Policies) -> Profile | None:
        """Replace what can change. None when the account has no such profile."""

    async def owners(self, profiles: Sequence[ProfileId]) -> Mapping[ProfileId, Account]:
        """Return whose these profiles are; unknown ones are left out."""


class UserName(Struct, frozen=True):
    """A profile's user name, by keyed digests: of the name, and of what all names that look alike have in common."""

    account: AccountId
    profile: ProfileId
    digest: bytes
    skeleton: bytes


class NameFault(enum.Enum):
    """Why a user name was not given: TAKEN by another account, or one that looks alike was; TOO_MANY of the account."""

    TAKEN = "taken"
    TOO_MANY = "too-many"


class UserNameStore(Protocol):
    """User names, each known by its skeleton alone."""

    async def put(
        self, name: UserName, now_ms: int, *, held_ms: int, most: int, known_as: Sequence[bytes] = ()
    ) -> NameFault | None:
        """Give a profile a name in place of the one it has, which is held for its account for `held_ms` then.

        An account has at most `most`, with those that are held. `known_as` are other skeletons of the same name.
        """

    async def remove(self, account: AccountId, profile: ProfileId, now_ms: int) -> None:
        """Take a profile's name from it, which is held from now on."""

    async def find(self, skeleton: bytes) -> UserName | None:
        """Return the name of this skeleton that somebody has."""

    async def rename(self, before: bytes, name: UserName) -> None:
        """Let a name that somebody has be known by other digests, unless another one is there."""


class ListFault(enum.Enum):
    """Why a device list was not stored.

    STALE: another one was stored meanwhile. DEVICE_EXISTS: the id of a new device was used before, by anybody, also by
    a device that is revoked.
    """

    STALE = "stale"
    DEVICE_EXISTS = "device-exists"


class AdoptFault(enum.Enum):
    """Why a device was not given to a session; the first of these that holds.

    NO_DEVICE: it is unknown, another account's, or revoked. SESSION_BOUND: the session has another device, or ended
    meanwhile.
    """

    NO_DEVICE = "no-device"
    SESSION_BOUND = "session-bound"


class DeviceStore(Protocol):
    """Device lists, and the devices that follow from the newest one of each account."""

    async def apply(self, change: ListChange) -> Sequence[RosterChange] | ListFault:
        """Store a list, enqueue it for the transparency log, and change devices, positions and rosters as it says.

        An added device has a position (the head) in each of its conversations. Of a revoked one go sessions, prekeys,
        positions and waiting ciphertext, for ever. Moves come in the order of ids.
        """

    async def expire(self, now_ms: int, most: int) -> Expired:
        """Let devices whose time is over receive for nothing, at most so many of them, and void their tickets."""

    async def newest_list(self, account: AccountId) -> StoredList | None:
        """Return the account's newest list."""

    async def lists(self, account: AccountId, from_number: int, most: int) -> Sequence[StoredList]:
        """Return the account's lists from a number on, in their order."""

    async def kept_list(self, account: AccountId, before_ms: int) -> int:
        """Return the number of the newest list that was stored before a time, 0 for none."""

    async def may_read_lists(self, reader: AccountId, device: DeviceId | None, account: AccountId) -> bool:
        """Whether both are members of one conversation, or `device` can have a message that the account wrote."""

    async def adopt(self, account: AccountId, device: DeviceId, session: SessionId) -> AdoptFault | None:
        """Bind the session to a device that is there, and end the device's other sessions; no roster moves.

        Done again, it changes nothing. Of several sessions at once, the last one has the device and is all it has.
        """

    async def find(self, account: AccountId, device: DeviceId) -> Device | None:
        """Return the device, unless revoked."""

    async def list_all(self, account: AccountId) -> Sequence[Device]:
        """Return the account's devices that are not revoked, oldest first."""

    async def void_tickets(self, account: AccountId, device: DeviceId, now_ms: int) -> None:
        """Void the tickets issued before now. A revocation stays final, and nothing is voided less than before."""

    async def revocations(self, since_ms: int) -> Sequence[Revocation]:
        """Return the revocations written at or after `since_ms`."""


class PrekeyStore(Protocol):
    """One-time keys (first in, first out) and fallback keys."""

    async def upload(
        self,
        account: AccountId,
        device: DeviceId,
        one_time: Sequence[Prekey],
        fallback: Prekey | None,
        *,
        most: int,
    ) -> tuple[int, bool] | None:
        """Add keys and replace the fallback. Return how many one-time keys there are, and whether a fallback is.

        A key that is there already is left as it is, and one that was handed out does not come back: the client may say
        the same again when it lost the answer. None, and nothing stored, when there would be more than `most`.
        (0, False), and nothing stored, for a device that is unknown or revoked.
        """

    async def count(self, account: AccountId, device: DeviceId) -> tuple[int, bool]:
        """Return how many one-time keys there are, and whether there is a fallback key."""

    async def claim(
        self,
        claimer: AccountId,
        devices: Sequence[tuple[AccountId, DeviceId]],
        *,
        now_ms: int,
        window_ms: int,
        most: int,
    ) -> Sequence[ClaimedPrekey] | None:
        """Take one key for each device; the fallback key where none is left; devices without any are left out.

        None, and nothing taken, when `claimer` claimed of one of them `most` times within the last `window_ms`. Asking
        for a device that has no key counts as well; asking twice in one call is asking once.
        """


class Mail(Protocol):
    """Outgoing e-mail."""

    async def send_code(self, address: str, code: str, *, expires_in_s: int) -> None:
        """Send a one-time code. Raises MailUnavailable, MailRefused."""


class MailUnavailable(Exception):
    """The mail server cannot be reached or refused the message."""


class MailRefused(MailUnavailable):
    """The mail server will not take a message to this address, however often it is tried."""


class InviteeStore(Protocol):
    """Who is invited: what claims of prekeys ask of it."""

    async def invited_devices(self, account: AccountId, conversation: ConversationId) -> Mapping[DeviceId, AccountId]:
        """Return the devices, with their accounts, of the profiles that an account invited and that did not answer."""


class DeviceRoster(Protocol):
    """The devices that somebody may write to in one place, and whose they are. In the domain's talk, a `Roster`."""

    @property
    def version(self) -> int:
        """Moves with every change."""

    @property
    def devices(self) -> Mapping[DeviceId, frozenset[ProfileId]]:
        """The devices, with the profiles they receive for."""

    def account_of(self, device: DeviceId) -> AccountId:
        """Return whose device it is. Raises KeyError."""


class RosterStore(Protocol):
    """Who may write to whom. People do not know of talk; its store of conversations answers this as well."""

    async def rosters(self, conversations: Sequence[ConversationId]) -> Mapping[ConversationId, DeviceRoster]:
        """Return the rosters; unknown conversations are left out."""
