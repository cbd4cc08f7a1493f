"""Signed notes and verifier keys (C2SP signed-note v1.0.0): text, and signature lines by name and key id."""

import base64
import binascii
import enum
import hashlib
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from varde_contract.errors import PeerFault

NOTE_BYTES: Final = 64 * 1024
"""A checkpoint with both signatures of its log takes 3.6 KiB, each witness with ML-DSA-44 as much again."""
_SIGNATURES_MOST: Final = 64
_DASH: Final = "\u2014"
_ID_BYTES: Final = 4
"""Of a key. Two keys may share one: it says which lines are worth verifying, and proves nothing."""


class SignatureType(enum.IntEnum):
    """What a key signs, and how. The others of C2SP are not used here."""

    ED25519 = 0x01  # the note's text
    COSIGNATURE_ED25519 = 0x04  # a checkpoint, at a time
    COSIGNATURE_ML_DSA_44 = 0x06  # the same, safe from quantum computers


PUBLIC_BYTES: Final = {
    SignatureType.ED25519: 32,
    SignatureType.COSIGNATURE_ED25519: 32,
    SignatureType.COSIGNATURE_ML_DSA_44: 1312,
}


class VerifierKey(NamedTuple):
    """A public key with the name that it signs under. As text it is a vkey: `name+id+base64`."""

    name: str
    type: SignatureType
    public: bytes

    @property
    def id(self) -> bytes:
        """The 4 bytes that signature lines have."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.type]) + self.public).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{encode_base64(bytes([self.type]) + self.public)}"

    @classmethod
    def parse(cls, vkey: str) -> "VerifierKey":
        """Read a vkey. Raises PeerFault."""
        name, _, rest = vkey.partition("+")
        told, _, encoded = rest.partition("+")
        material = decode_base64(encoded)
        try:
            key = cls(name, SignatureType(material[0]), material[1:])
        except (IndexError, ValueError):
            raise PeerFault("that is no vkey of a type that is known here") from None
        if not is_key_name(name) or len(key.public) != PUBLIC_BYTES[key.type] or told != key.id.hex():
            raise PeerFault("the parts of a vkey do not belong together")
        return key


class NoteSignature(NamedTuple):
    """One signature line. `signature` is without the key id."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        """Return the line with its end."""
        return f"{_DASH} {self.name} {encode_base64(self.key_id + self.signature)}\n"


class Note(NamedTuple):
    """A text, which ends with a line feed, and its signatures, which nobody has verified."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        """Return the bytes of the note."""
        return (self.text + "\n" + "".join(each.line() for each in self.signatures)).encode()

    def signature_of(self, key: VerifierKey) -> bytes | None:
        """Return the signature whose line has this key's name and id, the last when there are several."""
        found = [each.signature for each in self.signatures if (each.name, each.key_id) == (key.name, key.id)]
        return found[-1] if found else None

    def signed(self, more: Iterable[NoteSignature]) -> "Note":
        """Return the note with these signatures, each in the place of an older one of its key."""
        lines = {(each.name, each.key_id): each for each in (*self.signatures, *more)}
        return Note(self.text, tuple(lines.values()))


def parse_note(encoded: bytes) -> Note:
    """Read a note. Raises PeerFault."""
    text, lines = _split(encoded)
    return Note(text, parse_signatures(lines))


def parse_signatures(lines: str) -> tuple[NoteSignature, ...]:
    """Read signature lines, at least one. Raises PeerFault."""
    found = lines.removesuffix("\n").split("\n")
    if not lines.endswith("\n") or len(found) > _SIGNATURES_MOST:
        raise PeerFault("signature lines have ends, and there are not so many")
    return tuple(map(_parse_line, found))


def is_key_name(name: str) -> bool:
    """Whether a key may have this name."""
    return bool(name) and "+" not in name and name.isprintable() and not any(each.isspace() for each in name)


def encode_base64(content: bytes) -> str:
    """Return standard base64 with padding."""
    return base64.b64encode(content).decode()


def decode_base64(text: str) -> bytes:
    """Read what `encode_base64` would write, and nothing else. Raises PeerFault."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if encode_base64(content) != text:  # also bits after the end, which Python lets pass
        raise PeerFault("that is no base64")
    return content


def parse_number(text: str) -> int:
    """Read a decimal number as these formats write it: below 2**63, and no zero in front. Raises PeerFault."""
    if not _NUMBER.fullmatch(text) or int(text) >= 1 << 63:
        raise PeerFault("that is no number")
    return int(text)


def _split(encoded: bytes) -> tuple[str, str]:
    try:
        note = encoded.decode()
    except UnicodeDecodeError:
        raise PeerFault("a note is UTF-8") from None
    if len(encoded) > NOTE_BYTES or any(each < " " and each != "\n" for each in note):
        raise PeerFault("a note is short, and has no control characters")
    text, blank, lines = note.rpartition("\n\n")
    if not blank:
        raise PeerFault("a note has signatures after an empty line")
    return text + "\n", lines


def _parse_line(line: str) -> NoteSignature:
    dash, name, encoded = (*line.split(" "), "", "")[:3]
    signature = decode_base64(encoded)
    if line.count(" ") != 2 or dash != _DASH or not is_key_name(name) or len(signature) <= _ID_BYTES:  # noqa: PLR2004 - the two between three parts
        raise PeerFault("that is no signature line")
    return NoteSignature(name, signature[:_ID_BYTES], signature[_ID_BYTES:])


_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
