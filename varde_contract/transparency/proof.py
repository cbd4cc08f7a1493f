"""Proofs as text that stand alone (C2SP tlog-proof), and what a witness is asked (tlog-witness v1.0.0)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from varde_contract.errors import PeerFault
from varde_contract.transparency.merkle import HASH_BYTES, PROOF_MOST
from varde_contract.transparency.note import Note, decode_base64, encode_base64, parse_note, parse_number

_HEADER: Final = "c2sp.org/tlog-proof@v1\n"


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That entry number `index` is in the tree of a checkpoint. Nothing of it is verified yet."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: Note

    def encode(self) -> bytes:
        """Return the text of a `.tlog-proof` file."""
        return f"{_HEADER}index {self.index}\n{_lines(self.hashes)}\n".encode() + self.checkpoint.encode()

    @classmethod
    def parse(cls, encoded: bytes) -> "InclusionProof":
        """Read a `.tlog-proof` file; extra data is passed over, as nothing vouches for it. Raises PeerFault."""
        head, checkpoint = _parts(encoded)
        lines = head.removeprefix(_HEADER).split("\n")
        lines = lines[1:] if lines[0].startswith("extra ") else lines
        if not head.startswith(_HEADER) or not lines[0].startswith("index "):
            raise PeerFault("that is no proof of a log")
        return cls(parse_number(lines[0].removeprefix("index ")), _hashes(lines[1:]), parse_note(checkpoint))


class AddCheckpoint(NamedTuple):
    """A witness is asked to cosign: what it has cosigned last, and the proof from there."""

    old: int
    hashes: tuple[bytes, ...]
    checkpoint: Note

    def encode(self) -> bytes:
        """Return the body of the request."""
        return f"old {self.old}\n{_lines(self.hashes)}\n".encode() + self.checkpoint.encode()

    @classmethod
    def parse(cls, encoded: bytes) -> "AddCheckpoint":
        """Read the body of a request. Raises PeerFault."""
        head, checkpoint = _parts(encoded)
        first, *rest = head.split("\n")
        if not first.startswith("old "):
            raise PeerFault("a witness is told the old size first")
        return cls(parse_number(first.removeprefix("old ")), _hashes(rest), parse_note(checkpoint))


def _parts(encoded: bytes) -> tuple[str, bytes]:
    head, blank, checkpoint = encoded.partition(b"\n\n")
    if not blank:
        raise PeerFault("the checkpoint stands after an empty line")
    try:
        return head.decode("ascii"), checkpoint
    except UnicodeDecodeError:
        raise PeerFault("a proof is ASCII") from None


def _lines(hashes: Sequence[bytes]) -> str:
    return "".join(f"{encode_base64(each)}\n" for each in hashes)


def _hashes(lines: Sequence[str]) -> tuple[bytes, ...]:
    found = tuple(map(decode_base64, lines))
    if len(found) > PROOF_MOST or any(len(each) != HASH_BYTES for each in found):
        raise PeerFault("a proof has at most 63 hashes of 32 bytes")
    return found
