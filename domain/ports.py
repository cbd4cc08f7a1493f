"""What the domain needs from the outside, as Protocols. `storage` fills them; the doubles of the tests do too.

Refuses decisions: a store answers what is there and changes it in one transaction per call, nothing more. Every method
may raise `StoreUnavailable`, and is a checkpoint.
"""

import enum
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias

from msgspec import Struct

from contract.ids import AccountId, ConversationId, DeviceId, ProfileId, SessionId
from contract.rest.conversations import ConversationKind, Role
from contract.rest.profiles import Policies, Theme
from domain import nouns as n
from domain.events import Event

Clock: TypeAlias = Callable[[], int]
"""Milliseconds since the Unix epoch."""
Entropy: TypeAlias = Callable[[int], bytes]
"""That many random bytes."""


class StoreUnavailable(Exception):
    """The database cannot be reached or does not answer. Nothing is known of the call's effect. Try again later."""


class AccountStore(Protocol):
    """Accounts."""

    async def find(self, account: AccountId) -> n.Account | None:
        """Return the account."""

    async def set_root_key(self, account: AccountId, root_key: bytes) -> bool:
        """Set the root key once. True when it is this key now, also when it was before."""


class SignInStore(Protocol):
    """One-time codes and whose address is whose, by keyed digest of the address."""

    async def put_code(self, address: bytes, code: n.OneTimeCode, *, now_ms: int, window_ms: int, most: int) -> bool:
        """Replace the address's code. False when `most` codes were put within the last `window_ms`."""

    async def take_attempt(self, address: bytes) -> n.OneTimeCode | None:
        """Use up one attempt, atomically, and return the code as it was before; with no attempts left it was used up.

        None when there is none. An expired code is returned as long as no sweep has deleted it.
        """

    async def consume_code(self, address: bytes, code_digest: bytes) -> bool:
        """Delete this code. True for exactly one of several callers."""

    async def account_of(self, address: bytes, fresh: AccountId, now_ms: int) -> tuple[n.Account, bool]:
        """Return the address's account, made as `fresh` when there is none; True when it was made now."""


class SessionStore(Protocol):
    """Sessions."""

    async def add(self, session: n.Session) -> None:
        """Store a new session."""

    async def find(self, account: AccountId, session: SessionId) -> n.Session | None:
        """Return the session."""

    async def rotate(self, session: n.Session, *, old_refresh_digest: bytes) -> bool:
        """Replace digests and times, only where the refresh digest still is the old one. The device stays bound."""

    async def end(self, account: AccountId, session: SessionId) -> bool:
        """Delete the session. False when there was none."""

    async def list_live(self, account: AccountId, now_ms: int) -> Sequence[n.Session]:
        """Return the sessions whose refresh token is still good, oldest first."""


class ProfileStore(Protocol):
    """Profiles."""

    async def add(self, profile: n.Profile, most: int) -> bool:
        """Store a new profile. False when the account already has `most`."""

    async def find(self, account: AccountId, profile: ProfileId) -> n.Profile | None:
        """Return the profile, only of this account."""

    async def list_all(self, account: AccountId) -> Sequence[n.Profile]:
        """Return the account's profiles, oldest first."""

    async def replace(
        self, account: AccountId, profile: ProfileId, theme: Theme, policies: Policies
    ) -> n.Profile | None:
        """Replace what can change. None when the account has no such profile."""

    async def owners(self, profiles: Sequence[ProfileId]) -> Mapping[ProfileId, n.Account]:
        """Return whose these profiles are; unknown ones are left out."""


class DeviceAddFault(enum.Enum):
    """Why a device was not added; the first of these that holds.

    EXISTS: the id was used before, by anybody, also by a device that is revoked. SESSION_BOUND: the session has a
    device, or ended meanwhile.
    """

    EXISTS = "exists"
    SESSION_BOUND = "session-bound"
    TOO_MANY = "too-many"


class AdoptFault(enum.Enum):
    """Why a device was not given to a session; the first of these that holds.

    NO_DEVICE: it is unknown, another account's, or revoked. SESSION_BOUND: the session has another device, or ended
    meanwhile.
    """

    NO_DEVICE = "no-device"
    SESSION_BOUND = "session-bound"


class DeviceStore(Protocol):
    """Devices. Each change moves the roster version of every conversation that one of the profiles is a member of.

    The profiles of a change are those that the device begins or ceases to receive for. Moves come in the order of ids.
    """

    async def add(self, device: n.Device, session: SessionId, *, most: int) -> Sequence[n.RosterMove] | DeviceAddFault:
        """Store a device, bind the session to it, and give it a position (the head) in each of its conversations."""

    async def adopt(self, account: AccountId, device: DeviceId, session: SessionId) -> AdoptFault | None:
        """Bind the session to a device that is there, and end the device's other sessions; no roster moves.

        Done again, it changes nothing. Of several sessions at once, the last one has the device and is all it has.
        """

    async def find(self, account: AccountId, device: DeviceId) -> n.Device | None:
        """Return the device, unless revoked."""

    async def list_all(self, account: AccountId) -> Sequence[n.Device]:
        """Return the account's devices that are not revoked, oldest first."""

    async def set_profiles(
        self, account: AccountId, device: DeviceId, profiles: Sequence[ProfileId], now_ms: int
    ) -> Sequence[n.RosterMove] | None:
        """Replace the whitelist and void the tickets issued before now. Positions follow. None: no such device."""

    async def void_tickets(self, account: AccountId, device: DeviceId, now_ms: int) -> None:
        """Void the tickets issued before now. A revocation stays final, and nothing is voided less than before."""

    async def revoke(self, account: AccountId, device: DeviceId, now_ms: int) -> Sequence[n.RosterMove] | None:
        """Revoke for ever: sessions, prekeys, positions and waiting ciphertext of it go. None: no such device."""

    async def revocations(self, since_ms: int) -> Sequence[n.Revocation]:
        """Return the revocations written at or after `since_ms`."""


class PrekeyStore(Protocol):
    """One-time keys (first in, first out) and fallback keys."""

    async def upload(
        self,
        account: AccountId,
        device: DeviceId,
        one_time: Sequence[n.Prekey],
        fallback: n.Prekey | None,
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
        claimer: DeviceId,
        devices: Sequence[tuple[AccountId, DeviceId]],
        *,
        now_ms: int,
        window_ms: int,
        most: int,
    ) -> Sequence[n.ClaimedPrekey] | None:
        """Take one key for each device; the fallback key where none is left; devices without any are left out.

        None, and nothing taken, when `claimer` claimed of one of them `most` times within the last `window_ms`. Asking
        for a device that has no key counts as well; asking twice in one call is asking once.
        """


class MemberFault(enum.Enum):
    """Why a membership was not changed."""

    MOVED = "moved"
    ALREADY_MEMBER = "already-member"
    TOO_MANY = "too-many"
    NO_MEMBER = "no-member"


class NewRoster(Struct, frozen=True):
    """A conversation to be opened. `pair` is the sorted two (dm) or the one (self) profile it is unique by."""

    conversation: ConversationId
    kind: ConversationKind
    members: Sequence[tuple[ProfileId, AccountId, Role]]
    pair: tuple[ProfileId, ProfileId] | None
    created_ms: int


class ConversationStore(Protocol):
    """Conversations and memberships. A change of members moves the roster version."""

    async def open(self, new: NewRoster) -> tuple[ConversationId, bool]:
        """Store the conversation, or return the one its pair already has; True when it was made now."""

    async def rosters(self, conversations: Sequence[ConversationId]) -> Mapping[ConversationId, n.Roster]:
        """Return the rosters; unknown conversations are left out."""

    async def view(self, conversation: ConversationId) -> n.RosterView | None:
        """Return the roster with certificates. The devices' profiles are narrowed to those that are members."""

    async def sender(self, conversation: ConversationId, device: DeviceId, reader: DeviceId) -> n.Sender | None:
        """Return the device, revoked or not, that wrote a message still in the log which `reader` can have.

        None where there is no such message, and where `reader` does not belong to the conversation.
        """

    async def list_for(self, device: DeviceId, after: ConversationId | None, limit: int) -> Sequence[n.Summary]:
        """Return the conversations the device receives for, in the order of their ids, after a cursor."""

    async def list_many(self, requests: Sequence[n.ListRequest]) -> Sequence[Sequence[n.Standing]]:
        """Return such a page for each request, without kinds and profiles, in one query for all of them."""

    async def tips(self, conversations: Sequence[ConversationId]) -> Mapping[ConversationId, n.Tip]:
        """Return how far these conversations have come; unknown ones are left out."""

    async def add_member(
        self, conversation: ConversationId, version: int, member: tuple[ProfileId, AccountId, Role], *, most: int
    ) -> n.RosterMove | MemberFault:
        """Add a member from the head on, only where the roster is still at `version`; its devices get positions."""

    async def remove_member(
        self, conversation: ConversationId, version: int, profile: ProfileId
    ) -> n.RosterMove | MemberFault:
        """Remove a member with the positions and waiting ciphertext of the devices that no longer belong."""

    async def set_role(
        self, conversation: ConversationId, version: int, profile: ProfileId, role: Role
    ) -> n.RosterMove | MemberFault:
        """Change a member's role."""


class JournalStore(Protocol):
    """The log of conversations, written in batches: one statement for each."""

    async def commit(self, drafts: Sequence[n.Draft]) -> Sequence[n.Committed | n.RosterMoved]:
        """Number and store the drafts in the order given, all durable when this returns; one answer for each.

        A draft whose (conversation, device, client id) was in the log, or is stored by another draft of the batch,
        answers as that one, a duplicate, whatever roster version it was decided on.
        """

    async def find_committed(self, keys: Sequence[n.SendKey]) -> Sequence[n.Committed | None]:
        """Return, for each key, the message that is in the log, as a duplicate of it would be answered."""


class MailboxStore(Protocol):
    """The log of conversations, as devices read it, and their positions in it."""

    async def read(self, requests: Sequence[n.LogRequest]) -> Sequence[n.LogPage | None]:
        """Return one page for each request, in one query; None where the device does not belong to the conversation."""

    async def confirm(self, confirmations: Sequence[n.Confirmation]) -> Sequence[n.Confirmation]:
        """Move positions forward, delete ciphertext nobody waits for, and return those that did move, with where to.

        A position never goes back, nor beyond the head. Several of one device in one conversation answer as one,
        in the place of the first.
        """

    async def mark_read(self, marks: Sequence[tuple[ConversationId, ProfileId, int]]) -> Sequence[int]:
        """Move read positions forward, one mark after the other; return the indexes of those that did move.

        A mark beyond the head, or of a profile that is no member, does nothing.
        """

    async def sweep(self, now_ms: int, *, retention_ms: int, limit: int) -> n.Swept:
        """Delete what has passed its time, at most `limit` rows of each; one sweeper at a time in the whole fleet.

        Ciphertext goes after `retention_ms`, a message without any after twice that: until then its client id is known.
        """


class Bus(Protocol):
    """The doorbell between nodes."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Tell every node, this one included. May lose; never blocks for longer than its deadline; never raises."""

    def listen(self, receive: Callable[[Event], None], resync: Callable[[], None]) -> AbstractContextManager[None]:
        """Call `receive` with each event and `resync` whenever events may have been lost. Both are plain functions."""


class Mail(Protocol):
    """Outgoing e-mail."""

    async def send_code(self, address: str, code: str, *, expires_in_s: int) -> None:
        """Send a one-time code. Raises MailUnavailable."""


class MailUnavailable(Exception):
    """The mail server cannot be reached or refused the message."""


class Stores(Struct, frozen=True):
    """Everything `storage.opening.open_storage` hands out."""

    accounts: AccountStore
    sign_in: SignInStore
    sessions: SessionStore
    profiles: ProfileStore
    devices: DeviceStore
    prekeys: PrekeyStore
    conversations: ConversationStore
    journal: JournalStore
    mailbox: MailboxStore
    bus: Bus
