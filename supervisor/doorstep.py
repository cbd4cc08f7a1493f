"""What a database on this machine answers when one knocks: whether somebody listens, and accepts connections.

Nothing is asked of it: who needs it connects elsewhere.
"""

import enum
import struct
from typing import Final
from urllib.parse import parse_qs, urlsplit

import trio

PROTOCOL: Final = 3 << 16
NOT_NOW: Final = b"C57P03\0"
"""The field of an ErrorResponse that says cannot_connect_now: it starts, recovers or stops."""
_PATIENCE: Final = 3.0  # seconds; a server that starts may have no time to answer
_ANSWER_BYTES: Final = 4_096


class Answer(enum.Enum):
    """What is known after knocking."""

    NOBODY = enum.auto()
    NOT_YET = enum.auto()
    READY = enum.auto()


async def knock(url: str) -> Answer:
    """Begin to connect over the Unix socket that this database URL names (PostgreSQL 18 documentation, 54.2.1)."""
    parts = urlsplit(url)
    where = parse_qs(parts.query)
    folder, port = where.get("host", [""])[0], where.get("port", [""])[0]
    with trio.move_on_after(_PATIENCE), trio.socket.socket(trio.socket.AF_UNIX) as caller:
        try:
            await caller.connect(f"{folder}/.s.PGSQL.{port}")
        except OSError:
            return Answer.NOBODY
        try:
            await caller.send(_startup(parts.username or "", parts.path.removeprefix("/")))
            said = await caller.recv(_ANSWER_BYTES)
        except OSError:
            return Answer.NOT_YET
        return Answer.NOT_YET if not said or NOT_NOW in said else Answer.READY
    return Answer.NOT_YET


def _startup(user: str, database: str) -> bytes:
    fields = b"".join(each.encode() + b"\0" for each in ("user", user, "database", database))
    return struct.pack("!II", 8 + len(fields) + 1, PROTOCOL) + fields + b"\0"
