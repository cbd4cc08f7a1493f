"""The base of Structs that must not be printed."""

from msgspec import Struct


class SecretStruct(Struct, frozen=True):
    """A Struct that shows its name only: tokens, codes, addresses, keys and plaintext are fields of such ones."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"
