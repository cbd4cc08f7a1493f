"""Events, as frozen Structs: everything `Client.events()` hands out, and what `send` returns.

`msgspec.json.encode` turns each into one line of JSON with its tag under `type`.
"""

import enum
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Protocol, TypeAlias

from msgspec import Struct

from varde_contract.bodies import Mention, MessageRef
from varde_contract.ids import AccountId, ClientId, ConversationId, DeviceId, MessageId, ProfileId
from varde_contract.talk import ConversationKind, GapReason, PresenceState, Role


class Said(Struct, frozen=True, kw_only=True, dict=True):  # the dict: where it was said is no part of it
    """What somebody said or did in a conversation, from `device`.

    `written` is the sender's clock, `received` the relay's when it committed. `mine` is true when one of this account's
    own devices sent it.
    """

    conversation: ConversationId
    seq: int
    client_id: ClientId
    profile: ProfileId
    device: DeviceId
    account: AccountId
    written: datetime
    received: datetime
    mine: bool

    @property
    def ref(self) -> MessageRef:
        """What others name it by."""
        return MessageRef(self.device, self.client_id)

    @property
    def _where(self) -> "Speaker":
        where: Speaker | None = self.__dict__.get("where")
        if where is None:
            raise RuntimeError("only what an iterator of a client handed out can be answered")
        return where


class Reactions(Struct, frozen=True):
    """Who put an emoji on a message, in the order of their doing so."""

    emoji: str
    profiles: tuple[ProfileId, ...]


class Message(Said, frozen=True, kw_only=True, tag="message"):
    """Somebody wrote `text`. `timer` is how many seconds after reading it is deleted; 0: never.

    From the history it comes as it stands now: with the text it was edited to, what others put on it, and without any
    text when it was deleted.
    """

    text: str
    mentions: tuple[Mention, ...] = ()
    reply_to: MessageRef | None = None
    thread: MessageRef | None = None
    timer: int = 0
    edited: datetime | None = None
    deleted: bool = False
    reactions: tuple[Reactions, ...] = ()
    replies: int = 0
    """How many messages of its thread this device has."""

    def reply(self, text: str) -> Awaitable["Sent"]:
        """Answer it, in its thread if it is in one. Awaited under Trio or asyncio, as its client is.

        Raises what `Conversation.send` raises, RuntimeError for a message that no iterator handed out, as do the next
        three.
        """
        return self._where.reply(self, text)

    def react(self, emoji: str, *, on: bool = True) -> Awaitable["Sent"]:
        """Put an emoji on it, or take one's own away: `Conversation.react`."""
        return self._where.react(self.ref, emoji, on=on)

    def edit(self, text: str) -> Awaitable["Sent"]:
        """Change its text, if it is of one's own: `Conversation.edit`."""
        return self._where.edit(self.ref, text)

    def delete(self) -> Awaitable["Sent"]:
        """Take it back, if it is of one's own: `Conversation.delete`."""
        return self._where.delete(self.ref)


class Reaction(Said, frozen=True, kw_only=True, tag="reaction"):
    """Somebody put `emoji` on a message, or with `on` false took it away."""

    target: MessageRef
    emoji: str
    on: bool


class Edited(Said, frozen=True, kw_only=True, tag="edited"):
    """Somebody changed the text of a message of theirs. From somebody else it changes nothing."""

    target: MessageRef
    text: str
    mentions: tuple[Mention, ...] = ()


class Deleted(Said, frozen=True, kw_only=True, tag="deleted"):
    """Somebody took a message of theirs back. From somebody else it deletes nothing."""

    target: MessageRef


class TimerChanged(Said, frozen=True, kw_only=True, tag="timer-changed"):
    """Messages of this conversation are deleted `timer` seconds after they were read, from now on; 0: never."""

    timer: int


class ContactShared(Said, frozen=True, kw_only=True, tag="contact-shared"):
    """Somebody passed on a contact card: `contact` of `contact_account`, whom they call `name`, and vouch for.

    `Client.add_shared_contact` takes them in, if the server shows the root key that the card names.
    """

    contact: ProfileId
    name: str
    contact_account: AccountId
    root_hash: bytes


class Unknown(Struct, frozen=True, tag="unknown"):
    """Somebody wrote what this client cannot show yet: it was made by a newer one. Nothing is wrong with it."""

    conversation: ConversationId
    seq: int
    client_id: ClientId
    profile: ProfileId
    device: DeviceId


class Gap(Struct, frozen=True, tag="gap"):
    """The numbers `from_seq` to `to_seq`, both with, cannot be had by this device any more."""

    conversation: ConversationId
    from_seq: int
    to_seq: int
    why: GapReason


class Reason(enum.StrEnum):
    """Why a message could not be opened."""

    MALFORMED = "malformed"  # not written as this version of the protocol writes it
    UNKNOWN_SENDER = "unknown-sender"  # no device list says whose device or profile it is
    ROOT_KEY_CHANGED = "root-key-changed"  # the sender's account shows another root key than before
    NO_SESSION = "no-session"  # no ratchet or sender key here opens it
    TAMPERED = "tampered"  # the cipher refused it
    REPLAYED = "replayed"  # it was here before, under another number or client id
    FORGED_STATEMENT = "forged-statement"  # it says who is a member, and is not what a member signed at that place
    UNKNOWN_STATEMENT = "unknown-statement"  # it says so in a way that needs a newer client
    MISATTRIBUTED = "misattributed"  # what is inside is not what the relay said of it


class Break(enum.StrEnum):
    """What does not fit between a message and the ones before it."""

    DROPPED = "dropped"  # messages of the same or of another sender are missing, and nobody said so
    REORDERED = "reordered"  # it was written before one that came earlier
    FORKED = "forked"  # it follows other messages than those this device has
    OLD_LISTS = "old-lists"  # it was encrypted for the devices of somebody as they were before, and late
    OTHER_LISTS = "other-lists"  # it was encrypted for device lists that nobody here was shown
    RESTORED = "restored"  # the sender's device began anew, from a backup


class TranscriptBroken(Struct, frozen=True, tag="transcript-broken"):
    """Message `seq` of `device`, which is shown as well, does not fit the ones before it: `why`.

    But for `restored`, an honest server does not cause this.
    """

    conversation: ConversationId
    seq: int
    device: DeviceId
    why: Break


class HistoryLost(Struct, frozen=True, tag="history-lost"):
    """The server has lost the numbers `from_seq` to `to_seq`, both with; others may be given the same numbers.

    What this device had of them is here still, and what it sent is sent again.
    """

    conversation: ConversationId
    from_seq: int
    to_seq: int


class Undecryptable(Struct, frozen=True, tag="undecryptable"):
    """A message that this device has and cannot open. It counts as received, and is never hidden."""

    conversation: ConversationId
    seq: int
    reason: Reason


class Unsent(Struct, frozen=True, tag="unsent"):
    """A message was refused for good, and nobody waited for its ack any more. `code` is the refusal."""

    conversation: ConversationId
    client_id: ClientId
    text: str
    code: str


class Change(enum.StrEnum):
    """What a membership statement did."""

    CREATED = "created"
    INVITED = "invited"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    REMOVED = "removed"
    LEFT = "left"
    ROLE = "role"
    LINK = "link"
    POLICY = "policy"


class MembershipChange(Struct, frozen=True, tag="membership-change"):
    """A member's device signed a change of who is in the conversation, and this device has verified it.

    `by` said it of `profile`, who may be the same. `mine` is true when it was one of this account's own devices.
    """

    conversation: ConversationId
    seq: int
    number: int
    change: Change
    by: ProfileId
    profile: ProfileId
    role: Role | None
    mine: bool


class Expired(Struct, frozen=True, tag="expired"):
    """The time of a message is over: its text is gone from this device."""

    conversation: ConversationId
    message: MessageRef


class Receipt(Struct, frozen=True, tag="receipt"):
    """`profile` has received (`read` is false) or read every message up to and with `upto`."""

    conversation: ConversationId
    profile: ProfileId
    upto: int
    read: bool


class Typing(Struct, frozen=True, tag="typing"):
    """Somebody is typing, or stopped."""

    conversation: ConversationId
    profile: ProfileId
    active: bool


class Presence(Struct, frozen=True, tag="presence"):
    """The presence that a profile shows."""

    profile: ProfileId
    state: PresenceState


class Connected(Struct, frozen=True, tag="connected"):
    """The relay is connected; missed messages follow without further calls."""

    reconnected: bool


class Disconnected(Struct, frozen=True, tag="disconnected"):
    """The relay is not connected: `why` in a word. `retry_in_s` is None when the client will not try again."""

    why: str
    retry_in_s: float | None


class NotJoined(Struct, frozen=True, tag="not-joined"):
    """The relay refused to join a conversation, or with None some of all: nothing comes from there on this connection.

    `code` is the refusal: `too-many` means that the connection listens to as many as it may.
    """

    conversation: ConversationId | None
    code: str
    detail: str


class RequestsChanged(Struct, frozen=True, tag="requests-changed"):
    """Somebody wants to write, or no longer does: `Client.requests` says who."""


class Request(Struct, frozen=True, tag="request"):
    """`invited_by`, of `account`, asks `profile`, one of this account's, into a conversation. All of it is verified.

    `text` is how what they want to say begins, if they have said something and this device can read it. `by_link`: they
    have proven that they have a link which this device made.
    """

    conversation: ConversationId
    kind: ConversationKind
    profile: ProfileId
    invited_by: ProfileId
    account: AccountId
    members: tuple[ProfileId, ...]
    text: str | None
    by_link: bool = False


class LinkUsed(Struct, frozen=True, tag="link-used"):
    """`profile` of `account` asked by a link that this device made, and was accepted."""

    conversation: ConversationId
    profile: ProfileId
    account: AccountId


class RosterChange(Struct, frozen=True, tag="roster-change"):
    """Members or devices of a conversation are different now: who is new, who is gone."""

    conversation: ConversationId
    version: int
    joined: tuple[ProfileId, ...]
    left: tuple[ProfileId, ...]
    devices_added: tuple[DeviceId, ...]
    devices_gone: tuple[DeviceId, ...]


class ForkedLog(Struct, frozen=True, tag="forked-log"):
    """Two histories of the transparency log were shown: `why` in words.

    With a `device`, that device says that it has seen another one, which is no proof: ask its owner. Without, the
    server itself has signed both: nothing is sent any more, and this is told again at every start.
    """

    why: str
    device: DeviceId | None = None


class OwnListChanged(Struct, frozen=True, tag="own-list-changed"):
    """This account's device list changed, and not by this device: was it you? Without `listed` it was taken off."""

    number: int
    devices_added: tuple[DeviceId, ...]
    devices_gone: tuple[DeviceId, ...]
    listed: bool


class RootKeyChange(Struct, frozen=True, tag="root-key-change"):
    """An account replaces its root key: `effective` says from when on, None that it did so now.

    The one before vouches for it, or all managers of the account announced it. Compare safety numbers again.
    """

    account: AccountId
    effective: datetime | None


class Withheld(Struct, frozen=True, tag="withheld"):
    """The server leaves out members that the chain proves, or devices that their own lists prove.

    They do not get what is said now.
    """

    conversation: ConversationId
    devices: tuple[DeviceId, ...]
    profiles: tuple[ProfileId, ...] = ()


StoredEvent: TypeAlias = (
    Message
    | Reaction
    | Edited
    | Deleted
    | TimerChanged
    | ContactShared
    | Unknown
    | MembershipChange
    | Gap
    | Undecryptable
    | Unsent
    | TranscriptBroken
    | HistoryLost
)
"""Stored, and handed out by iterators until the application has taken it."""

TransientEvent: TypeAlias = (
    Receipt
    | Expired
    | Typing
    | Presence
    | Connected
    | Disconnected
    | NotJoined
    | RosterChange
    | ForkedLog
    | OwnListChanged
    | RootKeyChange
    | Withheld
    | RequestsChanged
    | LinkUsed
)
"""Given to iterators that listen now, and not stored."""

Event: TypeAlias = StoredEvent | TransientEvent


class Sent(Struct, frozen=True, tag="sent"):
    """The relay has committed the message as number `seq`: it survives the death of any process."""

    client_id: ClientId
    message: MessageId
    seq: int
    time: datetime


class Speaker(Protocol):
    """A conversation as messages know it, of Trio or of asyncio."""

    def reply(self, message: Message, text: str, /) -> Awaitable[Sent]:
        """Answer a message."""

    def react(self, message: MessageRef, emoji: str, /, *, on: bool = True) -> Awaitable[Sent]:
        """Put an emoji on a message."""

    def edit(self, message: MessageRef, text: str, /) -> Awaitable[Sent]:
        """Change a message."""

    def delete(self, message: MessageRef, /) -> Awaitable[Sent]:
        """Take a message back."""


def said_in(said: Said, where: Speaker) -> None:
    """Let a message know through whom it is answered."""
    said.__dict__["where"] = where


class Outgoing(Struct, frozen=True, tag="outgoing"):
    """A text that is stored and not acked yet."""

    client_id: ClientId
    text: str
    written: datetime


def at(milliseconds: int) -> datetime:
    """Return the UTC datetime of milliseconds since the Unix epoch, clamped to what a datetime can say.

    A sender's clock is whatever the sender claims: an absurd one must not stop the stream.
    """
    return datetime.fromtimestamp(min(milliseconds, _LATEST_MS) / 1_000, UTC)


_LATEST_MS = 253_402_300_799_000  # 9999-12-31T23:59:59Z
