"""The end-to-end envelope: what is inside a ciphertext, and the few bytes in clear in front of it.

Everything that Olm and Megolm do not bind is a field here, and is compared with what the relay said of the message (see
`open_envelope`). A message also names the sender's one before it and what it had seen of others: the transcript.
Nothing is signed, so nobody can prove to a third person who said what.
"""

import enum
import hashlib
from collections.abc import Iterable
from typing import Annotated, NamedTuple, TypeAlias, get_args

import msgspec
from msgspec import Meta, Struct

from varde_contract import codec, padding
from varde_contract.bodies import DIGEST_BYTES, GROUP_SESSION_BYTES, Body, GroupKey, check_body
from varde_contract.errors import PeerFault
from varde_contract.ids import AccountId, ClientId, ConversationId, DeviceId, ProfileId, decode_binary_id
from varde_contract.limits import SEQ_MAX
from varde_contract.secret_struct import SecretStruct
from varde_contract.talk import ConversationKind

ENVELOPE_VERSION = 2
INCARNATION_BYTES = 8
"""Random, so that two lives of one device's store never share it."""
SEEN_MESSAGES = 8


class Cipher(enum.IntEnum):
    """The second byte of a sealed message: which ratchet it belongs to."""

    OLM_PREKEY = 1
    OLM = 2
    MEGOLM = 3
    MEMBERSHIP = 4
    """In the clear: a signed membership statement, which the API alone puts into the log."""


Digest: TypeAlias = Annotated[bytes, Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
Incarnation: TypeAlias = Annotated[bytes, Meta(min_length=INCARNATION_BYTES, max_length=INCARNATION_BYTES)]
Counter: TypeAlias = Annotated[int, Meta(ge=1, le=SEQ_MAX)]


class ChainHead(Struct, frozen=True, array_like=True):
    """The newest membership statement that the sender knew: its number and hash."""

    number: Annotated[int, Meta(ge=0, le=SEQ_MAX)]
    hash: Digest


class SeenMessage(Struct, frozen=True, array_like=True):
    """The newest message of another device that the sender had seen."""

    device: DeviceId
    incarnation: Incarnation
    counter: Counter
    digest: Digest


class SeenCheckpoint(Struct, frozen=True, array_like=True):
    """The newest checkpoint of the transparency log that the sender had verified."""

    size: Annotated[int, Meta(ge=0, le=SEQ_MAX)]
    root: Digest


class Parts(Struct, frozen=True, array_like=True):
    """The sender's messages with these counters were parts: for some devices of the group, by the sender's own word.

    A part names the ones up to itself, and the first message after parts all that were before it.
    """

    first: Counter
    last: Counter


class _Header(SecretStruct, frozen=True, array_like=True):
    version: Annotated[int, Meta(ge=1, le=255)]
    conversation: ConversationId
    kind: ConversationKind
    chain: ChainHead
    lists: Digest
    account: AccountId
    profile: ProfileId
    device: DeviceId
    recipient: DeviceId | None
    client_id: ClientId
    written_ms: Annotated[int, Meta(ge=0, le=SEQ_MAX)]
    incarnation: Incarnation
    counter: Counter
    previous: Digest | None
    seen: Annotated[tuple[SeenMessage, ...], Meta(max_length=SEEN_MESSAGES)]
    checkpoint: SeenCheckpoint | None


class Envelope(_Header, frozen=True, array_like=True):
    """The plaintext of one message. `recipient` is None in a group ciphertext; `written_ms` is the sender's clock.

    `lists` names the device lists of everybody it was encrypted for, and of the sender. `counter` counts the messages
    of this device and incarnation in this conversation from 1; `previous` is the digest of the one before, None for the
    first. `seen` are up to eight newest messages of others, newest first.
    """

    body: Body
    parts: Parts | None = None


class UnknownEnvelope(_Header, frozen=True, array_like=True):
    """An envelope around a body that this client does not know: one of a later client, which is no attack."""

    body: msgspec.Raw
    parts: Parts | None = None


class Misattributed(PeerFault):
    """The envelope is well-formed, and was not written for the place where the relay shows it."""


class Said(NamedTuple):
    """What the relay and the roster say of a message, to be compared with its envelope."""

    conversation: ConversationId
    kind: ConversationKind
    account: AccountId
    profile: ProfileId
    device: DeviceId
    recipient: DeviceId | None
    client_id: ClientId


_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_decoder = msgspec.msgpack.Decoder(Envelope, dec_hook=decode_binary_id)
_unknown_decoder = msgspec.msgpack.Decoder(UnknownEnvelope, dec_hook=decode_binary_id)
_array_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])
_tag_decoder = msgspec.msgpack.Decoder(str)
_TAGS = frozenset(str(kind.__struct_config__.tag) for kind in get_args(Body))


_MESSAGE = b"varde.v2 message\x00"
_LISTS = b"varde.v2 lists\x00"
_RECIPIENT = Envelope.__struct_fields__.index("recipient")
_BODY = Envelope.__struct_fields__.index("body")
_NIL = msgspec.Raw(b"\xc0")


def lists_digest(lists: Iterable[tuple[AccountId, int, bytes]]) -> bytes:
    """Return the digest of the newest device lists of all members: account, number and hash of each."""
    # Sorted as bytes, which is the order of the accounts: to compare ids would take longer than all the rest.
    parts = sorted([account.bytes + number.to_bytes(8, "big") + digest for account, number, digest in lists])
    return hashlib.sha256(_LISTS + b"".join(parts)).digest()


def message_digest(plaintext: bytes) -> bytes:
    """Return what names a message in the transcript: SHA-256 of the envelope with nil for the recipient.

    It is taken of the bytes as they came: fields of a later client count. Raises PeerFault.
    """
    try:
        fields = _array_decoder.decode(padding.unpad(plaintext))
        fields[_RECIPIENT] = _NIL
    except (*codec.NOT_WELL_FORMED, IndexError):
        raise PeerFault("the envelope is not well-formed") from None
    return hashlib.sha256(_MESSAGE + _encoder.encode(fields)).digest()


def encode_envelope(envelope: Envelope | UnknownEnvelope) -> bytes:
    """Encode and pad: the plaintext for Olm or Megolm. Raises LocalMisuse when it is too large."""
    # What is not said is left out at the end: the bytes are those of before there was more to say.
    fields = [getattr(envelope, name) for name in Envelope.__struct_fields__]
    if not isinstance(envelope.body, msgspec.Raw):
        fields[_BODY] = _without_defaults(envelope.body)
    return padding.pad(_encoder.encode(fields if envelope.parts is not None else fields[:-1]))


def _without_defaults(body: Body) -> list[object]:
    kind = type(body)
    fields = [kind.__struct_config__.tag, *(getattr(body, name) for name in kind.__struct_fields__)]
    for default in reversed(kind.__struct_defaults__):
        if fields[-1] != default:
            break
        fields.pop()
    return fields


def open_envelope(plaintext: bytes, said: Said) -> Envelope | UnknownEnvelope:
    """Unpad, decode and compare. Raises PeerFault, and Misattributed where the envelope is not what the relay said."""
    envelope = _decode(padding.unpad(plaintext))
    if envelope.version != ENVELOPE_VERSION:
        raise PeerFault("the envelope has an unknown version")
    for name, outside in zip(Said._fields, said, strict=True):
        if getattr(envelope, name) != outside:
            raise Misattributed(f"the envelope was written for another {name}")
    _check_parts(envelope)
    check_body(envelope.body)
    # A sender key is for each device of the roster by itself. In a group ciphertext it would also reach whoever still
    # holds an older session of the group.
    if isinstance(envelope.body, GroupKey) and envelope.recipient is None:
        raise Misattributed("a group key came outside Olm")
    return envelope


def _check_parts(envelope: Envelope | UnknownEnvelope) -> None:
    parts = envelope.parts
    if parts is None:
        return
    # Of itself in Olm alone: a group ciphertext is for everybody who has the key.
    itself = parts.last == envelope.counter and envelope.recipient is not None
    if not (itself or parts.last == envelope.counter - 1) or parts.first > parts.last:
        raise PeerFault("the parts are not those before the message")
    if envelope.kind is not ConversationKind.GROUP:
        raise PeerFault("there are no parts outside groups")


def _decode(content: bytes) -> Envelope | UnknownEnvelope:
    try:
        return _decoder.decode(content)
    except codec.NOT_WELL_FORMED:
        pass  # perhaps only the body is of a later client
    try:
        envelope = _unknown_decoder.decode(content)
        known = _tag_decoder.decode(_array_decoder.decode(envelope.body)[0]) in _TAGS
    except (*codec.NOT_WELL_FORMED, IndexError):
        known = True
    if known:
        raise PeerFault("the envelope is not well-formed")
    return envelope


class SealedParts(NamedTuple):
    """A sealed message, taken apart. `session` is the Megolm session id, or empty for Olm."""

    cipher: Cipher
    session: bytes
    ciphertext: bytes


def join_sealed(parts: SealedParts) -> bytes:
    """Return version byte, cipher byte, for Megolm 32 bytes of session id, and the ciphertext."""
    return bytes((ENVELOPE_VERSION, parts.cipher)) + parts.session + parts.ciphertext


def split_sealed(sealed: bytes) -> SealedParts:
    """Take a sealed message apart. Raises PeerFault."""
    try:
        version, cipher = sealed[0], Cipher(sealed[1])
    except (IndexError, ValueError):
        raise PeerFault("the ciphertext names no known cipher") from None
    if version != ENVELOPE_VERSION:
        raise PeerFault("the ciphertext has an unknown version")
    start = 2 + (GROUP_SESSION_BYTES if cipher is Cipher.MEGOLM else 0)
    if len(sealed) <= start:
        raise PeerFault("the ciphertext is too short")
    return SealedParts(cipher, sealed[2:start], sealed[start:])
