"""The fast path of the HTTP upgrade: the one request that a client of ours sends, whole and in one piece."""

import base64
import hashlib
import re
from typing import Final

from msgspec import Struct

from varde_contract.session import SUBPROTOCOL

RELAY: Final = "/v1/relay"
"""The path of the WebSocket."""
SMALL: Final = 2_048
"""Bytes of a request that is looked at here. Ours has some 250, and as much again from a load balancer."""

_FIRST_LINE: Final = f"GET {RELAY} HTTP/1.1\r\n".encode()
_END: Final = b"\r\n\r\n"
_FIXED: Final = {
    b"upgrade": frozenset({b"websocket", b"WebSocket"}),
    b"connection": frozenset({b"Upgrade", b"upgrade"}),
    b"sec-websocket-version": frozenset({b"13"}),
    b"sec-websocket-protocol": frozenset({SUBPROTOCOL.encode()}),
}
"""RFC 6455 section 4.2.1: what has to be there, in the spelling of nearly everybody."""
_HOST: Final = b"host"
_KEY: Final = b"sec-websocket-key"
_FORWARDED: Final = b"x-forwarded-for"
_NEEDED: Final = frozenset({*_FIXED, _HOST, _KEY})
_KNOWN: Final = _NEEDED | {_FORWARDED, b"x-forwarded-proto", b"user-agent", b"sec-websocket-extensions"}
"""The others mean nothing here: no extension is ever agreed to."""
_SIXTEEN_BYTES: Final = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")
"""As base64 is written, section 4 of RFC 4648: the bits that do not count are zero."""

_ACCEPTED: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Protocol: " + SUBPROTOCOL.encode() + b"\r\nSec-WebSocket-Accept: %s\r\n\r\n"
)
"""Without a Date, which only answers from 200 on have to have (RFC 9110 section 6.6.1)."""
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Upgrade(Struct, frozen=True):
    """A request that is good: only admission is left to be asked, with what load balancers say."""

    key: bytes
    forwarded: str


def read_upgrade(received: bytes) -> Upgrade | None:
    """Read the first bytes of a connection; None unless they are this one request and nothing else."""
    if len(received) > SMALL or not (received.startswith(_FIRST_LINE) and received.endswith(_END)):
        return None
    lines = received[len(_FIRST_LINE) : -len(_END)].split(b"\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}
    # A field that comes twice is one fewer.
    if len(fields) != len(lines) or not _NEEDED <= fields.keys() <= _KNOWN:
        return None
    if not all(fields[name] in values for name, values in _FIXED.items()) or not _SIXTEEN_BYTES.fullmatch(fields[_KEY]):
        return None
    if not all(map(_is_plain, fields.values())):
        return None
    return Upgrade(fields[_KEY], fields.get(_FORWARDED, b"").decode("ascii"))


def _is_plain(value: bytes) -> bool:
    """Whether there is a value, without a space at either end, a control character, or anything beyond ASCII."""
    return value.isascii() and value.decode().isprintable() and value != b"" and value == value.strip()


def accepted(upgrade: Upgrade) -> bytes:
    """Return the answer to a request that is let in (RFC 6455 section 4.2.2)."""
    digest = hashlib.sha1(upgrade.key + _GUID, usedforsecurity=False).digest()
    return _ACCEPTED % base64.b64encode(digest)
