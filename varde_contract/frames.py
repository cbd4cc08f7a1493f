"""The frames of the relay protocol, both directions, as msgspec Structs (array-like, tagged with the papers' words)."""

import enum
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

from varde_contract.ids import ClientId, ConversationId, DeviceId, EpochId, MessageId, ProfileId, SessionId, Uuid7
from varde_contract.limits import CIPHERTEXT_BYTES, DEVICES_PER_SEND, PROBE_BYTES, SEQ_MAX, SYNC_MESSAGES, TICKET_BYTES
from varde_contract.refusals import RefusalCode, StaleDevices
from varde_contract.secret_struct import SecretStruct
from varde_contract.talk import GapReason as GapReason
from varde_contract.talk import PresenceState as PresenceState

Seq: TypeAlias = Annotated[int, Meta(ge=1, le=SEQ_MAX, description="Number of a message in its conversation, from 1.")]
Upto: TypeAlias = Annotated[int, Meta(ge=0, le=SEQ_MAX, description="A position: every number up to and with this.")]
Milliseconds: TypeAlias = Annotated[int, Meta(ge=0, le=SEQ_MAX, description="Milliseconds since the Unix epoch.")]
BASE64: Final = {"pattern": "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"}
Ciphertext: TypeAlias = Annotated[
    bytes,
    Meta(
        min_length=1,
        max_length=CIPHERTEXT_BYTES,
        description="End-to-end ciphertext; see the envelope.",
        extra_json_schema=BASE64,
    ),
]
ProbeToken: TypeAlias = Annotated[
    bytes,
    Meta(max_length=PROBE_BYTES, description="Bytes that come back as they are.", extra_json_schema=BASE64),
]
Version: TypeAlias = Annotated[int, Meta(ge=0, le=SEQ_MAX, description="Roster version of a conversation.")]


class ChangeKind(enum.StrEnum):
    """What `changed` speaks of."""

    MEMBERSHIP = "membership"
    DEVICES = "devices"
    KEYS_LOW = "keys-low"
    REQUESTS = "requests"


# In the handshake


class Hello(SecretStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The payload of the client's last handshake message."""

    version: Annotated[int, Meta(ge=1, le=255)]
    ticket: Annotated[str, Meta(min_length=1, max_length=TICKET_BYTES)]
    device: DeviceId


# Client to relay


class Join(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="join:conversation"):
    """Listen to one conversation, or with None to all of this device.

    The backlog starts at `from_seq`, or with None where this device had confirmed; all takes only None.
    """

    conversation: ConversationId | None = None
    from_seq: Seq | None = None


class Send(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="msg:send"):
    """Store and deliver one message: either one `group` ciphertext or one ciphertext per device.

    `devices` names exactly the current devices of the members without the sending one. `roster_version` is the version
    the sender encrypted for.
    """

    client_id: ClientId
    conversation: ConversationId
    profile: ProfileId
    roster_version: Version
    group: Ciphertext | None = None
    devices: Annotated[dict[DeviceId, Ciphertext], Meta(max_length=DEVICES_PER_SEND)] | None = None


class Delivered(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="receipt:delivered"):
    """This device holds every number up to and with `upto`: their ciphertext may be deleted."""

    conversation: ConversationId
    upto: Upto


class Read(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="receipt:read"):
    """The person behind `profile` has read up to and with `upto`."""

    conversation: ConversationId
    profile: ProfileId
    upto: Upto


class Sync(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="sync"):
    """Ask for numbers again, apart from the live order. Answered by `msg:new` and `gap` that account for each."""

    conversation: ConversationId
    from_seq: Seq
    limit: Annotated[int, Meta(ge=1, le=SYNC_MESSAGES)] = SYNC_MESSAGES


class Typing(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="typing"):
    """Somebody writes, or stopped. Never stored, first to be dropped."""

    conversation: ConversationId
    profile: ProfileId
    active: bool


class Presence(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="presence"):
    """What a profile shows of itself. Never stored, first to be dropped."""

    profile: ProfileId
    state: PresenceState


class Probe(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="probe"):
    """Ask the relay for a sign of life, answered by `probe` with the same token.

    For clients that see no pings: browsers answer those by themselves and do not show them.
    """

    token: ProbeToken


# Relay to client


class ServerLimits(Struct, frozen=True, array_like=True):
    """What the node allows this connection."""

    ciphertext_bytes: int
    frames_per_second: int
    bytes_per_second: int
    joined: int


class Head(Struct, frozen=True, array_like=True):
    """One conversation as the node knows it: its last number and what this device had confirmed.

    `own_seq` is the last number behind `upto` that this device sent itself, 0 for none. A device that does not know it
    has an old store.
    """

    conversation: ConversationId
    head: Upto
    upto: Upto
    roster_version: Version
    own_seq: Upto


class EpochHead(Struct, frozen=True, array_like=True):
    """An epoch of the store, and the last number of the conversation that was kept when it began."""

    epoch: EpochId
    head: Upto


class Welcome(Struct, frozen=True, array_like=True, tag="welcome"):
    """The first frame of the relay. With `more`, there are further conversations than `heads` names."""

    session: SessionId
    time: Milliseconds
    heartbeat_ms: int
    limits: ServerLimits
    heads: tuple[Head, ...]
    more: bool
    epoch: EpochId | None = None


class Joined(Struct, frozen=True, array_like=True, tag="joined"):
    """The conversation is listened to; numbers from `from_seq` to `head` follow as backlog, then live.

    `epochs` are those of the store, newest first: who knew another one before has lost numbers, see the protocol.
    `own_seq` is that of `Head`. Nothing is encrypted before the backlog is taken in and the number is known.
    """

    conversation: ConversationId
    from_seq: Seq
    head: Upto
    roster_version: Version
    own_seq: Upto
    epochs: tuple[EpochHead, ...] = ()


class Ack(Struct, frozen=True, array_like=True, tag="ack"):
    """The message is committed: it survives the death of any process."""

    client_id: ClientId
    conversation: ConversationId
    message: MessageId
    seq: Seq
    time: Milliseconds


class New(Struct, frozen=True, array_like=True, tag="msg:new"):
    """One message, for this device."""

    conversation: ConversationId
    seq: Seq
    message: MessageId
    client_id: ClientId
    sender_profile: ProfileId
    sender_device: DeviceId
    time: Milliseconds
    ciphertext: Ciphertext


class DeliveredBy(Struct, frozen=True, array_like=True, tag="receipt:delivered"):
    """A device of `profile` holds every number up to and with `upto`."""

    conversation: ConversationId
    profile: ProfileId
    upto: Upto


class ReadBy(Struct, frozen=True, array_like=True, tag="receipt:read"):
    """`profile` has read up to and with `upto`: sent to others as its policy allows, to its own devices always."""

    conversation: ConversationId
    profile: ProfileId
    upto: Upto


class Gap(Struct, frozen=True, array_like=True, tag="gap"):
    """The numbers `from_seq` to `to_seq`, both with, cannot be had by this device."""

    conversation: ConversationId
    from_seq: Seq
    to_seq: Seq
    why: GapReason


class TypingBy(Struct, frozen=True, array_like=True, tag="typing"):
    """Somebody else writes, or stopped."""

    conversation: ConversationId
    profile: ProfileId
    active: bool


class PresenceOf(Struct, frozen=True, array_like=True, tag="presence"):
    """What somebody else shows."""

    profile: ProfileId
    state: PresenceState


class RefusedFrame(Struct, frozen=True, array_like=True, tag="refused"):
    """The frame with tag `about` was refused, and nothing of it was done.

    `about` is empty for a tag that the relay does not know. `subject` is the client id (`msg:send`), the conversation
    (all others that have one), or None; also None where it could not be read.
    """

    about: str
    subject: Uuid7 | None  # msgspec takes two names of one type for two types, which may not stand in one union
    code: RefusalCode
    detail: str
    retry_after_ms: int | None = None
    stale: StaleDevices | None = None


class Lagging(Struct, frozen=True, array_like=True, tag="lagging"):
    """The connection reads too slowly: `dropped` ephemeral frames were left out. No message was."""

    dropped: int


class Changed(Struct, frozen=True, array_like=True, tag="changed"):
    """Something to look up again: a roster at `value` = its version, or with `keys-low` `value` one-time keys left."""

    kind: ChangeKind
    conversation: ConversationId | None
    value: int


class Goaway(Struct, frozen=True, array_like=True, tag="goaway"):
    """The node will close with `why`: reconnect after `after_ms` plus a random part of `jitter_ms`."""

    why: int
    after_ms: int
    jitter_ms: int


class ProbeEcho(Struct, frozen=True, array_like=True, tag="probe"):
    """The answer to `probe`."""

    token: ProbeToken


# Not on the wire


class MalformedFrame(Struct, frozen=True, tag="malformed"):
    """Stands for a frame of a client that the relay could not read, among those of the same message that it could.

    `about` is its tag, empty for one that is not known. `detail` names the field in our words.
    """

    about: str
    subject: Uuid7 | None
    detail: str


ClientFrame: TypeAlias = Join | Send | Delivered | Read | Sync | Typing | Presence | Probe
ReceivedFrame: TypeAlias = ClientFrame | MalformedFrame
ServerFrame: TypeAlias = (
    Welcome
    | Joined
    | Ack
    | New
    | DeliveredBy
    | ReadBy
    | Gap
    | TypingBy
    | PresenceOf
    | RefusedFrame
    | Lagging
    | Changed
    | Goaway
    | ProbeEcho
)
EPHEMERAL: tuple[type[Struct], ...] = (TypingBy, PresenceOf)


def tag_of(frame: Struct | type[Struct]) -> str:
    """Return the word a frame carries on the wire."""
    return str(frame.__struct_config__.tag)


def about_of(frame: ReceivedFrame) -> str:
    """Return the tag that `refused` names for this frame."""
    return frame.about if isinstance(frame, MalformedFrame) else tag_of(frame)


def subject_of(frame: ReceivedFrame) -> ClientId | ConversationId | None:
    """Return what `refused` names for this frame beside its tag."""
    match frame:
        case Send():
            return frame.client_id
        case MalformedFrame():
            return None if frame.subject is None else ConversationId(frame.subject)
        case Presence() | Probe():
            return None
        case _:
            return frame.conversation
