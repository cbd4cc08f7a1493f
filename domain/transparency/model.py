"""What the store of the log keeps."""

from typing import NamedTuple

from msgspec import Struct

from varde_contract.transparency.entry import Entry


class SignedHead(Struct, frozen=True):
    """A checkpoint as a signed note, and the verifier keys of who signed it, one on a line."""

    size: int
    root: bytes
    note: bytes
    vkeys: str
    signed_ms: int


class Pending(NamedTuple):
    """An entry that is not in the log yet, by its place in the queue."""

    place: int
    entry: Entry


class Logged(Struct, frozen=True):
    """An entry and where it is in the log."""

    entry: Entry
    index: int


class Backlog(Struct, frozen=True):
    """What an alert asks for: how many entries are pending, and when the newest checkpoint was signed."""

    pending: int
    signed_ms: int | None
