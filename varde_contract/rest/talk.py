"""Conversations, their members and their roster, and sending without a socket."""

from typing import Annotated

from msgspec import Meta, Struct

from varde_contract.device_list import HASH_BYTES
from varde_contract.frames import Ciphertext, Seq, Version
from varde_contract.ids import AccountId, ClientId, ConversationId, DeviceId, MessageId, ProfileId, id_schema
from varde_contract.limits import DEVICES_PER_SEND, MEMBERS_PER_CONVERSATION
from varde_contract.rest.fields import Instant, Salt
from varde_contract.talk import ConversationKind, Role


class NewConversation(Struct, frozen=True, forbid_unknown_fields=True):
    """Open a conversation as `profile`. A dm names one other member, a group any number, a self none.

    Opening the same dm or self again returns the one that is there.
    """

    kind: ConversationKind
    profile: ProfileId
    members: Annotated[tuple[ProfileId, ...], Meta(max_length=MEMBERS_PER_CONVERSATION - 1)] = ()


class NewMember(Struct, frozen=True, forbid_unknown_fields=True):
    """Add a member. `profile` is the one who joins; the session's device must hold `as_profile`, who adds."""

    profile: ProfileId
    as_profile: ProfileId
    role: Role = Role.MEMBER


class MemberRole(Struct, frozen=True, forbid_unknown_fields=True):
    """Change a member's role."""

    role: Role
    as_profile: ProfileId


class MemberView(Struct, frozen=True):
    """One member: whose profile it is, and the salt that shows it in the account's device lists."""

    profile: ProfileId
    account: AccountId
    role: Role
    salt: Salt


class ListHead(Struct, frozen=True):
    """A member account's newest device list; `hash` is that of the list without its signatures."""

    account: AccountId
    number: int
    hash: Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]


class RosterDevice(Struct, frozen=True):
    """One current device of the members, and the member profiles it receives for. Its keys are in the device list."""

    device: DeviceId
    account: AccountId
    profiles: tuple[ProfileId, ...]


class ConversationView(Struct, frozen=True):
    """A conversation with its roster: members and current devices, at `roster_version`.

    Believe no device of it that the account's own device list, signed and numbered, does not prove.
    """

    conversation: ConversationId
    kind: ConversationKind
    created_at: Instant
    head: int
    roster_version: int
    members: tuple[MemberView, ...]
    lists: tuple[ListHead, ...]
    devices: tuple[RosterDevice, ...]


class ConversationSummary(Struct, frozen=True):
    """One row of the list: what the session's device needs to join."""

    conversation: ConversationId
    kind: ConversationKind
    profiles: tuple[ProfileId, ...]
    head: int
    upto: int
    roster_version: int


class Conversations(Struct, frozen=True):
    """A page of conversations in the order of their ids; `next` is the cursor of the following page."""

    conversations: tuple[ConversationSummary, ...]
    next: ConversationId | None


class NewMessage(Struct, frozen=True, forbid_unknown_fields=True):
    """The same send as `msg:send`, for clients without a socket and for what does not fit a Noise message."""

    client_id: ClientId
    conversation: ConversationId
    profile: ProfileId
    roster_version: Version
    group: Ciphertext | None = None
    devices: (
        Annotated[
            dict[DeviceId, Ciphertext],
            Meta(max_length=DEVICES_PER_SEND, extra_json_schema={"propertyNames": id_schema(DeviceId)}),
        ]
        | None
    ) = None


class MessageStored(Struct, frozen=True):
    """The same ack as on the relay: the message is committed."""

    client_id: ClientId
    conversation: ConversationId
    message: MessageId
    seq: Seq
    sent_at: Instant
