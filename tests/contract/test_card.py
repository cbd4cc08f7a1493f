"""Cards in the clear: one encoding of four sizes, one form of the name, pictures known by their bytes."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.contract import examples as x
from tests.ids import id_of
from varde_contract import padding
from varde_contract.card import (
    AVATAR_BYTES,
    BUCKETS,
    NONCE_BYTES,
    SEALED_BYTES,
    TAG_BYTES,
    Card,
    CardKind,
    CardPlace,
    associated_data,
    avatar_type,
    card_statement,
    decode_card,
    encode_card,
)
from varde_contract.errors import PeerFault
from varde_contract.names import NAME_CHARACTERS

PNG, JPEG, WEBP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF\x10\x00\x00\x00WEBPVP8 "
CARD = Card(1, "Alice", b"", x.ALICE_PRIVAT, x.ALICE_PHONE, bytes(64))
PLACE = CardPlace(CardKind.PROFILE, x.ALICE_PRIVAT)


def encoded(card: Any) -> bytes:
    """A card of any content, padded."""
    return padding.pad(msgspec.msgpack.Encoder(uuid_format="bytes").encode(card), BUCKETS)


@pytest.mark.parametrize("avatar", [b"", PNG, JPEG, WEBP, PNG.ljust(AVATAR_BYTES, b"\x00")])
def test_a_card_comes_back(avatar: bytes) -> None:
    """Whatever is on it; the fullest one fits the largest size."""
    card = replace(CARD, name="😀" * NAME_CHARACTERS, avatar=avatar)
    padded = encode_card(card)
    assert decode_card(padded) == card
    assert NONCE_BYTES + len(padded) + TAG_BYTES in SEALED_BYTES


def test_a_name_alone_does_not_show_its_length() -> None:
    """All cards without a picture have one size."""
    assert {len(encode_card(replace(CARD, name="😀" * long))) for long in (1, 20, NAME_CHARACTERS)} == {BUCKETS[0]}


@pytest.mark.parametrize(
    "wrong",
    [
        *({"name": name} for name in ("", " Bob", "Bob\n", "\u202eBob", "A\u030ase", "\u200d", "a" * 65)),
        *(
            {"avatar": avatar}
            for avatar in (b"<svg>", b"GIF89a", b"\x89PNG", b"RIFF1234WAVE", PNG + bytes(AVATAR_BYTES))
        ),
        *({"number": 0}, {"number": 2**63}, {"signature": bytes(63)}),
    ],
)
def test_what_is_no_card(wrong: dict[str, Any]) -> None:
    """A hostile client makes any; nobody shows it."""
    with pytest.raises(PeerFault):
        decode_card(encoded(replace(CARD, **wrong)))


@given(st.sampled_from(BUCKETS).flatmap(lambda bucket: st.binary(max_size=40).map(lambda b: b.ljust(bucket, b"\x80"))))
def test_other_bytes_are_the_peers_fault(padded: bytes) -> None:
    """What opened is not yet a card."""
    with pytest.raises(PeerFault):
        decode_card(padded)


def test_a_signature_names_all_there_is_on_a_card() -> None:
    """Whose card it is, its number, name and picture, and who signed it."""
    other = x.BOB_PHONE
    cards = [
        CARD,
        replace(CARD, number=2),
        replace(CARD, name="Bob"),
        replace(CARD, avatar=PNG),
        replace(CARD, profile=id_of(9)),
        replace(CARD, device=other),
    ]
    statements = {card_statement(PLACE, card) for card in cards}
    statements |= {card_statement(CardPlace(CardKind.GROUP, PLACE.id), CARD)}
    statements |= {card_statement(CardPlace(CardKind.PROFILE, id_of(9)), CARD)}
    assert len(statements) == len(cards) + 2
    assert not any(each.startswith(associated_data(PLACE, 1)) for each in statements)


def test_pictures_are_known_by_their_bytes() -> None:
    """By nothing that a sender says of them."""
    assert [avatar_type(each) for each in (PNG, JPEG, WEBP)] == ["image/png", "image/jpeg", "image/webp"]
    assert [avatar_type(each) for each in (b"", b"GIF89a", b"RIFF1234", b"<html>")] == [None] * 4
