"""Entries of Varde's log: an account has signed the list of its devices with this number, and this is its digest."""

from typing import Final, NamedTuple
from uuid import UUID

from varde_contract.errors import PeerFault
from varde_contract.ids import AccountId
from varde_contract.transparency.merkle import HASH_BYTES, leaf_hash

_ID_BYTES: Final = 16
_NUMBER_BYTES: Final = 8
ENTRY_BYTES: Final = _ID_BYTES + _NUMBER_BYTES + HASH_BYTES
_LENGTH_BYTES: Final = 2


class Entry(NamedTuple):
    """`digest` is SHA-256 of the signed list. Nobody can tell from it what the list says, so the list may be erased."""

    account: AccountId
    number: int
    digest: bytes

    def encode(self) -> bytes:
        """Return the 56 bytes that are hashed into the tree."""
        return self.account.bytes + self.number.to_bytes(_NUMBER_BYTES) + self.digest

    def leaf(self) -> bytes:
        """Return the hash of the entry."""
        return leaf_hash(self.encode())

    @classmethod
    def parse(cls, encoded: bytes) -> "Entry":
        """Read 56 bytes. Raises PeerFault."""
        if len(encoded) != ENTRY_BYTES:
            raise PeerFault("an entry has 56 bytes")
        account, rest = encoded[:_ID_BYTES], encoded[_ID_BYTES:]
        return cls(AccountId(UUID(bytes=account)), int.from_bytes(rest[:_NUMBER_BYTES]), rest[_NUMBER_BYTES:])


def join_entries(entries: list[Entry]) -> bytes:
    """Return a bundle of entries (tlog-tiles): each after its length in two bytes."""
    return b"".join(ENTRY_BYTES.to_bytes(_LENGTH_BYTES) + entry.encode() for entry in entries)


def split_entries(bundle: bytes) -> list[Entry]:
    """Read a bundle. Raises PeerFault."""
    step = _LENGTH_BYTES + ENTRY_BYTES
    pieces = [bundle[place : place + step] for place in range(0, len(bundle), step)]
    if any(piece[:_LENGTH_BYTES] != ENTRY_BYTES.to_bytes(_LENGTH_BYTES) for piece in pieces):
        raise PeerFault("an entry of this log has 56 bytes")
    return [Entry.parse(piece[_LENGTH_BYTES:]) for piece in pieces]
