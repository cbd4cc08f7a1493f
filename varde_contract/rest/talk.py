"""Conversations, their members and their roster, and sending without a socket."""

from typing import Annotated

from msgspec import Meta, Struct

from varde_contract.device_list import HASH_BYTES
from varde_contract.frames import Ciphertext, Seq, Version
from varde_contract.ids import (
    AccountId,
    ClientId,
    ConversationId,
    DeviceId,
    EpochId,
    LinkId,
    MessageId,
    ProfileId,
    id_schema,
)
from varde_contract.limits import (
    DEVICES_PER_ACCOUNT,
    DEVICES_PER_SEND,
    FIRST_WORDS_BYTES,
    LINK_USES,
    MEMBERS_PER_CONVERSATION,
)
from varde_contract.membership_statements import DIGEST_BYTES, STATEMENT_BYTES
from varde_contract.rest.fields import Instant, Key, Salt, Signature, base64_schema
from varde_contract.secret_struct import SecretStruct
from varde_contract.talk import ConversationKind, Role

STATEMENTS_PER_PAGE = 256
"""A quarter of a MiB at the most: a statement has at most 1 KiB."""
SignedStatement = Annotated[
    bytes,
    Meta(
        min_length=1,
        max_length=2 * STATEMENT_BYTES,
        description="A signed membership statement, msgpack, base64: see membership.json.",
        extra_json_schema=base64_schema(2 * STATEMENT_BYTES),
    ),
]
Digest = Annotated[
    bytes,
    Meta(
        min_length=DIGEST_BYTES,
        max_length=DIGEST_BYTES,
        description="SHA-256, base64.",
        extra_json_schema={"pattern": "^[A-Za-z0-9+/]{43}=$"},
    ),
]

SealedWords = Annotated[
    bytes,
    Meta(
        min_length=1,
        max_length=FIRST_WORDS_BYTES,
        description="Base64.",
        extra_json_schema=base64_schema(FIRST_WORDS_BYTES),
    ),
]


class NewStatements(Struct, frozen=True, forbid_unknown_fields=True):
    """Signed membership statements that follow each other: at the beginning of a conversation its creation first."""

    statements: Annotated[tuple[SignedStatement, ...], Meta(min_length=1, max_length=MEMBERS_PER_CONVERSATION + 1)]


class StatementsStored(Struct, frozen=True):
    """Each statement is in the log of the conversation, under these numbers, for ever."""

    seqs: tuple[Seq, ...]


class StatementView(Struct, frozen=True):
    """A statement of the chain, and the number it has in the log. `state` is the membership a snapshot speaks of."""

    number: int
    seq: Seq
    signed: SignedStatement
    state: bytes | None


class Statements(Struct, frozen=True):
    """A page of a chain, in order; the last page is not full (256)."""

    statements: tuple[StatementView, ...]


class FirstWords(Struct, frozen=True, forbid_unknown_fields=True):
    """What an invitation says, encrypted for each device of who is invited: an envelope with the body `invite`."""

    client_id: ClientId
    profile: ProfileId
    devices: Annotated[
        dict[DeviceId, SealedWords],
        Meta(
            min_length=1,
            max_length=DEVICES_PER_ACCOUNT,
            extra_json_schema={"propertyNames": id_schema(DeviceId)},
        ),
    ]


class WordsView(Struct, frozen=True):
    """The first words for this device: as which profile they were written, with which device."""

    client_id: ClientId
    profile: ProfileId
    device: DeviceId
    ciphertext: bytes


class InvitationView(Struct, frozen=True):
    """A profile of this device is asked to be a member. What is said here is proven by the statements alone."""

    conversation: ConversationId
    kind: ConversationKind
    profile: ProfileId
    words: WordsView | None = None


class Requests(Struct, frozen=True):
    """What this device's profiles are asked for, newest conversations first."""

    invitations: tuple[InvitationView, ...]


class BlockView(Struct, frozen=True):
    """An account whose requests this one does not want to see."""

    account: AccountId
    since: Instant


class Blocks(Struct, frozen=True):
    """Whom the account has blocked, newest first."""

    blocks: tuple[BlockView, ...]


class ChainHead(Struct, frozen=True):
    """The last statement of a conversation: its number and hash."""

    number: int
    hash: Digest


class LinkProof(Struct, frozen=True, forbid_unknown_fields=True):
    """Whoever has a link wants to come in as `profile`: its public key, and the signature that the acceptance shows."""

    profile: ProfileId
    key: Key
    signature: Signature


class NewLink(Struct, frozen=True, forbid_unknown_fields=True):
    """Make an invite link to a profile of the account. `digest` is `links.token_digest`: the secret stays outside."""

    profile: ProfileId
    digest: Digest
    uses: Annotated[int, Meta(ge=1, le=LINK_USES)]
    expires_at: Instant


class LinkView(Struct, frozen=True):
    """An invite link, as its owner sees it: how often it can still be used, and until when."""

    link: LinkId
    profile: ProfileId
    uses: int
    expires_at: Instant
    made_at: Instant


class Links(Struct, frozen=True):
    """The account's invite links that somebody can still use, newest first."""

    links: tuple[LinkView, ...]


class LinkUse(SecretStruct, frozen=True, forbid_unknown_fields=True):
    """Show that one has a link to a profile. `token` is a hash of its secret."""

    account: AccountId
    profile: ProfileId
    token: Digest


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
    """A conversation with its roster: who accepted and their current devices, at `roster_version`.

    Who is a member is proven by the chain alone, and which devices they have by the accounts' own device lists, signed
    and numbered: encrypt for nobody and nothing else.
    """

    conversation: ConversationId
    kind: ConversationKind
    created_at: Instant
    head: int
    roster_version: int
    members: tuple[MemberView, ...]
    lists: tuple[ListHead, ...]
    devices: tuple[RosterDevice, ...]
    chain: ChainHead | None = None


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
    """The same send as `msg:send`, for clients without a socket and for what does not fit a Noise message.

    With `part`, `devices` are some of a group that has more than one send can name: the others are told `not-for-you`.
    """

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
    part: bool = False


class MessageStored(Struct, frozen=True):
    """The same ack as on the relay: the message is committed, under a number of this epoch of the store."""

    client_id: ClientId
    conversation: ConversationId
    message: MessageId
    seq: Seq
    sent_at: Instant
    epoch: EpochId
