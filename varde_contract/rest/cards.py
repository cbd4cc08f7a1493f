"""Sealed cards: names and pictures of profiles and groups, which the server cannot open."""

from typing import Annotated

from msgspec import Meta, Struct

from varde_contract.card import SEALED_BYTES, CardNumber
from varde_contract.rest.fields import base64_schema

SealedBytes = Annotated[
    bytes,
    Meta(
        min_length=1,
        max_length=SEALED_BYTES[-1],
        description="A sealed card, base64: a nonce, a card padded to 1, 4, 16 or 32 KiB, and a tag.",
        extra_json_schema=base64_schema(SEALED_BYTES[-1]),
    ),
]


class SealedCard(Struct, frozen=True, forbid_unknown_fields=True):
    """A sealed card, and its number, which only grows."""

    number: CardNumber
    sealed: SealedBytes
