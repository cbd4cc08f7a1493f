"""The type that a sweep returns."""

from msgspec import Struct


class Swept(Struct, frozen=True):
    """How many rows of each kind one sweep removed."""

    ciphertexts: int
    messages: int
    codes: int
    sessions: int
    revocations: int
