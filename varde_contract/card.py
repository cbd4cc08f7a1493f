"""Cards: the name and picture of a profile, or the title and picture of a group, as they are sealed for the server.

The server keeps one of each, sealed, and sees its size and when it changed. Every card has a key of its own, which
travels in messages and links. A card says who signed it, because everybody who has its key could make another one.
"""

import enum
import hashlib
from typing import Annotated, Final
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from varde_contract import codec, padding
from varde_contract.errors import PeerFault
from varde_contract.ids import DeviceId, ProfileId, decode_binary_id
from varde_contract.limits import KIB, SEQ_MAX
from varde_contract.names import NAME_CHARACTERS, clean_name
from varde_contract.secret_struct import SecretStruct
from varde_contract.signed_statements import SIGNATURE_BYTES

CARD_KEY_BYTES: Final = 32
NONCE_BYTES: Final = 24
TAG_BYTES: Final = 16
AVATAR_BYTES: Final = 24 * KIB
BUCKETS: Final = (1 * KIB, 4 * KIB, 16 * KIB, 32 * KIB)
"""Padded sizes: whether there is a picture, and about how large it is, is all that they tell."""
SEALED_BYTES: Final = tuple(NONCE_BYTES + bucket + TAG_BYTES for bucket in BUCKETS)
"""The only sizes of a sealed card: a nonce of XChaCha20-Poly1305, a padded card, and the tag."""

_SEALED: Final = b"varde.v2 card\x00"
_SIGNED: Final = b"varde.v2 card signature\x00"

CARD_STEP: Final = 1_000
"""So much larger than the number before a card's may be, which leaves room for what a server has lost. Without a bound,
one member could take the last number, and nobody could give the group another title."""

CardNumber = Annotated[int, Meta(ge=1, le=SEQ_MAX)]
"""The number of a card only grows. Nobody shows or takes in an older one."""
CardKeyBytes = Annotated[bytes, Meta(min_length=CARD_KEY_BYTES, max_length=CARD_KEY_BYTES)]


class CardKind(enum.IntEnum):
    """Whose card it is."""

    PROFILE = 1
    GROUP = 2


class CardKey(SecretStruct, frozen=True, array_like=True):
    """What opens a card, and the number of the only card that it opens."""

    number: CardNumber
    key: CardKeyBytes


class Card(SecretStruct, frozen=True, array_like=True):
    """A card in the clear. `avatar` is a PNG, JPEG or WebP, or empty; `profile` and `device` signed it."""

    number: CardNumber
    name: Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS)]
    avatar: Annotated[bytes, Meta(max_length=AVATAR_BYTES)]
    profile: ProfileId
    device: DeviceId
    signature: Annotated[bytes, Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]


class CardPlace(Struct, frozen=True):
    """Whose card it is: of a profile, or of a group."""

    kind: CardKind
    id: UUID


_encoder: Final = msgspec.msgpack.Encoder(uuid_format="bytes")
_decoder: Final = msgspec.msgpack.Decoder(Card, dec_hook=decode_binary_id)


def associated_data(place: CardPlace, number: int) -> bytes:
    """Return what a sealed card is bound to: it opens for nobody else, and under no other number."""
    return _SEALED + bytes((place.kind,)) + place.id.bytes + number.to_bytes(8)


def card_statement(place: CardPlace, card: Card) -> bytes:
    """Return what the device of a card signs."""
    content = hashlib.sha256(_encoder.encode((card.name, card.avatar))).digest()
    return _SIGNED + associated_data(place, card.number) + card.profile.bytes + card.device.bytes + content


def encode_card(card: Card) -> bytes:
    """Encode and pad a card, to be sealed."""
    return padding.pad(_encoder.encode(card), BUCKETS)


def decode_card(padded: bytes) -> Card:
    """Decode an opened card, and check name and picture. Raises PeerFault."""
    try:
        card = _decoder.decode(padding.unpad(padded, BUCKETS))
    except codec.NOT_WELL_FORMED:
        raise PeerFault("a card is not well-formed") from None
    try:
        clean = clean_name(card.name)
    except ValueError as fault:
        raise PeerFault(f"the name on a card is none: {fault}") from None
    # In one form only: two forms of one name would look the same and be two.
    if clean != card.name:
        raise PeerFault("the name on a card is not in its normal form")
    if card.avatar and avatar_type(card.avatar) is None:
        raise PeerFault("the picture on a card is of no known kind")
    return card


def avatar_type(avatar: bytes) -> str | None:
    """Return the media type of a picture by its first bytes; None for what is no PNG, JPEG or WebP.

    What it says of its size in pixels is its maker's word: whoever decodes one sets a bound of their own.
    """
    if avatar.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if avatar.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if avatar[:4] == b"RIFF" and avatar[8:12] == b"WEBP":
        return "image/webp"
    return None
