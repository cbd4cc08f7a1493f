"""Membership statements and their bytes: what a device says and signs about who is in a conversation.

A statement is a msgpack array in its one deterministic encoding; a signed one is an array of those bytes and an Ed25519
signature. Each names its number and the SHA-256 of the signed statement before it: together they are a chain, which
`varde_contract.membership` judges.
"""

import enum
import hashlib
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeAlias, get_args

import msgspec
from msgspec import Meta, Struct

from varde_contract.codec import NOT_WELL_FORMED
from varde_contract.errors import PeerFault
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId, SpaceId, decode_binary_id
from varde_contract.limits import SEQ_MAX
from varde_contract.refusals import RefusalCode
from varde_contract.signed_statements import KEY_BYTES, SIGNATURE_BYTES
from varde_contract.talk import ConversationKind, Role

DIGEST_BYTES: Final = 32
STATEMENT_BYTES: Final = 1_024

_STATEMENT: Final = b"varde.v2 membership\x00"
_LINK: Final = b"varde.v2 membership link\x00"

Key: TypeAlias = Annotated[bytes, Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
Digest: TypeAlias = Annotated[bytes, Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
Signature: TypeAlias = Annotated[bytes, Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=SEQ_MAX)]


class ChainFault(PeerFault):
    """A statement that does not hold at its place. `refusal` is the word for it that the server answers with."""

    def __init__(self, refusal: RefusalCode, rule: str) -> None:
        super().__init__(rule)
        self.refusal = refusal


class UnknownStatement(ChainFault):
    """A statement of a kind that is not known here. Nothing may be sent before the client is updated."""

    def __init__(self) -> None:
        super().__init__(RefusalCode.MALFORMED, "the statement is of a kind that is not known here")


class Statement(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The head of every statement: its place in the chain, and the device that signs, in which of its device lists."""

    conversation: ConversationId
    number: Count
    previous: Digest | None
    account: AccountId
    profile: ProfileId
    device: DeviceId
    list_number: Annotated[int, Meta(ge=1, le=SEQ_MAX)]
    issued_ms: Count


class Create(Statement, frozen=True, array_like=True, forbid_unknown_fields=True, tag="create"):
    """The first: its hash, and so that of every later one, binds the kind. The nonce makes the hash unique."""

    kind: ConversationKind
    nonce: Annotated[bytes, Meta(min_length=16, max_length=16)]


class Invite(Statement, frozen=True, array_like=True, forbid_unknown_fields=True, tag="invite"):
    """Ask a profile of an account to be a member. It is none before it accepts."""

    invited: ProfileId
    invited_account: AccountId
    role: Role


class InviteLink(Statement, frozen=True, array_like=True, forbid_unknown_fields=True, tag="invite-link"):
    """Invite whoever holds the private half of `key`, so many times, until a time."""

    key: Key
    expires_ms: Count
    uses: Annotated[int, Meta(ge=0, le=1_000)]  # 0 withdraws the link
    role: Role


class Via(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A link's key, and its signature of `link_statement`."""

    key: Key
    signature: Signature


class Accept(Statement, frozen=True, array_like=True, forbid_unknown_fields=True, tag="accept"):
    """Become a member: by an invitation, or `via` a link."""

    via: Via | None


class Decline(Statement, frozen=True, array_like=True, forbid_unknown_fields=True, tag="decline"):
    """Refuse an invitation."""


class Remove(Statement, frozen=True, array_like=True, forbid_unknown_fields=True, tag="remove"):
    """Remove another member, or take an invitation back."""

    removed: ProfileId


class ChangeRole(Statement, frozen=True, array_like=True, forbid_unknown_fields=True, tag="role"):
    """Give a member, oneself included, another role."""

    member: ProfileId
    role: Role


class Leave(Statement, frozen=True, array_like=True, forbid_unknown_fields=True, tag="leave"):
    """Be no member any more."""


class Policy(Statement, frozen=True, array_like=True, forbid_unknown_fields=True, tag="policy"):
    """Set a rule of the conversation: one of `POLICIES`."""

    name: Annotated[str, Meta(min_length=1, max_length=32)]
    value: Annotated[str, Meta(max_length=64)]


class Snapshot(Statement, frozen=True, array_like=True, forbid_unknown_fields=True, tag="snapshot"):
    """The `Membership.digest_of_state` before it. Who has the state that it names need not replay what led there."""

    # The hash and not the members: a statement stays below `STATEMENT_BYTES` however large rooms become.
    state: Digest


# The bytes of the next three are settled, so that nothing on the wire changes when they come into force. Until then
# `varde_contract.membership` judges them as it does a kind that it does not know: whoever cannot do what a statement
# asks sends nothing.


class GuestRight(enum.IntFlag):
    """What a guest may do besides reading. A sum and not a list of words, so that it has one encoding."""

    WRITE = 1
    REACT = 2
    MEDIA = 4


class Guest(Statement, frozen=True, array_like=True, forbid_unknown_fields=True, tag="guest"):
    """Invite whoever holds the private half of `key` as a guest, whose stay ends at `expires_ms`, and who is shown so.

    The link's key and not an account: a guest has none that outlives the visit. `rights` is a sum of `GuestRight`.
    """

    key: Key
    expires_ms: Count
    uses: Annotated[int, Meta(ge=0, le=1_000)]  # 0 ends the stay of all who came by it
    rights: Annotated[int, Meta(ge=0, le=sum(GuestRight))]
    per_minute: Annotated[int, Meta(ge=0, le=1_000)]  # messages


class Channel(Statement, frozen=True, array_like=True, forbid_unknown_fields=True, tag="channel"):
    """Say which key signs the posts of a channel. `successor` signs the next such statement's, when `key` is retired.

    `title` is a commitment, so that a private channel's name is not in the clear: SHA-256 of `varde.v2 channel title`,
    a zero byte, a salt of 32 bytes, and the text.
    """

    key: Key
    successor: Key | None
    title: Digest
    public: bool


class Space(Statement, frozen=True, array_like=True, forbid_unknown_fields=True, tag="space"):
    """Put the conversation into a space, or with None take it out. `policies` is the hash of the space's own statement.

    The hash and not the policies: they are the space's, and a conversation says by which of them it goes.
    """

    space: SpaceId | None
    policies: Digest | None


AnyStatement: TypeAlias = (
    Create
    | Invite
    | InviteLink
    | Accept
    | Decline
    | Remove
    | ChangeRole
    | Leave
    | Policy
    | Snapshot
    | Guest
    | Channel
    | Space
)


class SignedStatement(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The bytes of a statement and its device's signature over `statement_bytes`."""

    statement: Annotated[bytes, Meta(min_length=1, max_length=STATEMENT_BYTES)]
    signature: Signature


_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_signed = msgspec.msgpack.Decoder(SignedStatement)
_statement = msgspec.msgpack.Decoder(AnyStatement, dec_hook=decode_binary_id)
_head = msgspec.msgpack.Decoder(Statement, dec_hook=decode_binary_id)
_HEAD_FIELDS: Final = len(Statement.__struct_fields__)
_TAGS: Final = frozenset(str(kind.__struct_config__.tag) for kind in get_args(AnyStatement))


def encode_statement(statement: AnyStatement) -> bytes:
    """Return the bytes that are hashed and signed."""
    return _encoder.encode(statement)


def statement_bytes(statement: bytes) -> bytes:
    """Return what the device's signing key signs for an encoded statement."""
    return _STATEMENT + statement


def link_statement(conversation: ConversationId, profile: ProfileId) -> bytes:
    """Return what the private half of a link's key signs for the profile that comes in by it."""
    return _LINK + conversation.bytes + profile.bytes


def sign_statement(statement: AnyStatement, sign: Callable[[bytes], bytes]) -> bytes:
    """Encode and sign; `sign` makes an Ed25519 signature with the key of the device that the statement names."""
    encoded = encode_statement(statement)
    return _encoder.encode(SignedStatement(encoded, sign(statement_bytes(encoded))))


def digest_of(signed: bytes) -> bytes:
    """Return the hash that the next statement names as `previous`."""
    return hashlib.sha256(signed).digest()


def parse_statement(signed: bytes) -> tuple[Statement, SignedStatement]:
    """Read a statement without judging it; of an unknown kind only its head. Raises ChainFault."""
    try:
        parts = _signed.decode(signed)
        fields: list[Any] = msgspec.msgpack.decode(parts.statement, type=list)
        if fields and isinstance(fields[0], str) and fields[0] not in _TAGS:
            statement: Statement = _head.decode(_encoder.encode(fields[1 : 1 + _HEAD_FIELDS]))
            canonical = _encoder.encode(fields)
        else:
            statement = _statement.decode(parts.statement)
            canonical = _encoder.encode(statement)
    except NOT_WELL_FORMED:
        raise ChainFault(RefusalCode.MALFORMED, "the statement is not well-formed") from None
    # One statement, one sequence of bytes: with two, both would be the same to a rule and differ in their hash.
    if canonical != parts.statement or _encoder.encode(parts) != signed:
        raise ChainFault(RefusalCode.MALFORMED, "the statement is not in its deterministic encoding")
    return statement, parts
