"""Postgres' own protocol, as far as one prepared statement with arrays needs it. Sans-I/O.

Integers are big-endian; everything travels as binary.
"""

import struct
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import Final, TypeAlias
from uuid import UUID

import asyncpg

Row: TypeAlias = bytes
"""As it came: the number of its columns, then the length and the octets of each."""

UUIDS: Final = 2951
BIGINTS: Final = 1016
BYTEAS: Final = 1001
"""The types of the arrays, by their OIDs, which are the same in every Postgres."""
ANSWER_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of one message: more is no answer to anything that is asked here."""

_UUID, _BIGINT, _BYTEA = 2950, 20, 17
_SIXTEEN: Final = b"\0\0\0\x10"
_NULL: Final = b"\xff\xff\xff\xff"
_SYNC: Final = b"S\0\0\0\x04"
_BINARY: Final = struct.pack(">HH", 1, 1)
"""One format for all of them, and it is binary."""
_HEAD: Final = struct.Struct(">ci")
_LENGTH: Final = struct.Struct(">i")
_EIGHT: Final = struct.Struct(">iq")
_ARRAY: Final = struct.Struct(">iiiii")
_EMPTY: Final = struct.Struct(">iii")
_LAST: Final = b"Z"


def uuids(values: Collection[UUID]) -> bytes:
    """Encode a `uuid[]`."""
    return _array(_UUID, len(values), b"".join([_SIXTEEN + value.bytes for value in values]))


def nullable_uuids(values: Collection[UUID | None]) -> bytes:
    """Encode a `uuid[]` that may have nulls."""
    elements = b"".join([_NULL if value is None else _SIXTEEN + value.bytes for value in values])
    return _array(_UUID, len(values), elements, nulls=True)


def bigints(values: Collection[int]) -> bytes:
    """Encode a `bigint[]`."""
    pack = _EIGHT.pack
    return _array(_BIGINT, len(values), b"".join([pack(8, value) for value in values]))


def byteas(values: Collection[bytes]) -> bytes:
    """Encode a `bytea[]`."""
    pack = _LENGTH.pack
    return _array(_BYTEA, len(values), b"".join([part for value in values for part in (pack(len(value)), value)]))


def _array(kind: int, count: int, elements: bytes, *, nulls: bool = False) -> bytes:
    if not count:
        return _EMPTY.pack(0, 0, kind)
    return _ARRAY.pack(1, nulls, kind, count, 1) + elements  # one dimension, counted from 1


def prepare(name: bytes, statement: str, types: Sequence[int]) -> bytes:
    """Write Parse and Sync: the statement can be asked by its name from then on."""
    body = name + b"\0" + statement.encode() + b"\0" + struct.pack(f">H{len(types)}i", len(types), *types)
    return _message(b"P", body) + _SYNC


def ask(name: bytes, arguments: Iterable[bytes]) -> bytes:
    """Write Bind, Execute and Sync, for all rows at once."""
    # Into the portal without a name: the next Bind replaces it, so no Close has to follow.
    parts = list(arguments)
    values = chain.from_iterable((_LENGTH.pack(len(part)), part) for part in parts)
    body = b"".join((b"\0", name, b"\0", _BINARY, struct.pack(">H", len(parts)), *values, _BINARY))
    return _message(b"B", body) + _message(b"E", b"\0\0\0\0\0") + _SYNC


def _message(kind: bytes, body: bytes) -> bytes:
    return _HEAD.pack(kind, len(body) + 4) + body


class Answer:
    """What comes back until Postgres is ready again."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._error: bytes | None = None
        self._rest = b""
        self.complete = False

    def feed(self, received: bytes) -> None:
        """Take in what was received. Raises ConnectionError when that cannot be an answer."""
        octets = self._rest + received if self._rest else received
        place, end = 0, len(octets)
        while end - place >= _HEAD.size:
            kind, length = _HEAD.unpack_from(octets, place)
            if not _LENGTH.size <= length <= ANSWER_LIMIT:
                raise ConnectionError("the database said something that is no answer")
            after = place + 1 + length  # the length counts itself, and not the octet that says what it is
            if after > end:
                break
            # Completions, parameters and notices are passed over: what matters is in the rows, the error and the end.
            # An error ends nothing here, because Postgres still reads up to Sync and only then is ready for more.
            if kind == b"D":
                self._rows.append(octets[place + _HEAD.size : after])
            elif kind == b"E":
                self._error = octets[place + _HEAD.size : after]
            elif kind == _LAST:
                self.complete = True
            place = after
        self._rest = octets[place:]

    def rows(self) -> list[Row]:
        """Return the rows. Raises what asyncpg would raise for the database's error."""
        if self._error is not None:
            raise _fault(self._error)
        return self._rows


def columns(row: Row) -> list[bytes | None]:
    """Take a row apart; None for a null."""
    (count,) = struct.unpack_from(">H", row)
    place, found = 2, list[bytes | None]()
    for _ in range(count):
        (length,) = _LENGTH.unpack_from(row, place)
        place += _LENGTH.size
        found.append(None if length < 0 else row[place : place + length])
        place += max(0, length)
    return found


def _fault(body: bytes) -> asyncpg.PostgresError:
    """Make asyncpg's error of an ErrorResponse, of its code only: everything else may hold values of rows."""
    fields = {part[:1].decode(): part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
    told = {"S": "ERROR", "C": fields.get("C", "XX000"), "M": "the database refused"}
    error: asyncpg.PostgresError = asyncpg.PostgresError.new(told)
    return error
