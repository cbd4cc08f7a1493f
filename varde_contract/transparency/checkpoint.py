"""Checkpoints (C2SP tlog-checkpoint v1.0.0) and who signed them (tlog-cosignature v1.1.0-rc.1).

A log signs with Ed25519, which the witness network asks for, and with ML-DSA-44, which says the time. Varde's clients
demand both.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from varde_contract.errors import PeerFault
from varde_contract.transparency.merkle import HASH_BYTES
from varde_contract.transparency.note import (
    Note,
    NoteSignature,
    SignatureType,
    VerifierKey,
    decode_base64,
    encode_base64,
    parse_note,
    parse_number,
)

ORIGIN_BYTES: Final = 255
"""It is signed with one byte before it that says its length."""
_TIME_BYTES: Final = 8
_ML_DSA_LABEL: Final = b"subtree/v1\n\0"


class Checkpoint(NamedTuple):
    """A tree at one size."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the text of its note. This log uses no extension lines."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Read the text of a note; extension lines are passed over, as their log alone knows them. Raises PeerFault."""
        lines = text.removesuffix("\n").split("\n")
        if len(lines) < 3 or not all(lines) or len(lines[0].encode()) > ORIGIN_BYTES:  # noqa: PLR2004 - origin, size and root
            raise PeerFault("a checkpoint has an origin, a size and a root")
        root = decode_base64(lines[2])
        if len(root) != HASH_BYTES:
            raise PeerFault("a root has 32 bytes")
        return cls(lines[0], parse_number(lines[1]), root)


class Opened(NamedTuple):
    """A checkpoint whose log has signed it, and when: seconds since the Unix epoch, by the log's own clock."""

    checkpoint: Checkpoint
    time: int
    note: Note


class Signer(Protocol):
    """A private key that signs checkpoints under its name."""

    @property
    def key(self) -> VerifierKey:
        """The public half."""

    def sign(self, checkpoint: Checkpoint, time: int) -> NoteSignature:
        """Return the signature line; `time` in seconds since the Unix epoch."""


class Ed25519Signer:
    """Ed25519: as a log (type 1, which has no time), or as a witness (type 4)."""

    def __init__(self, name: str, seed: bytes, kind: SignatureType = SignatureType.ED25519) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.key = VerifierKey(name, kind, self._private.public_key().public_bytes_raw())

    def sign(self, checkpoint: Checkpoint, time: int) -> NoteSignature:
        """Sign."""
        if self.key.type is SignatureType.ED25519:
            return NoteSignature(self.key.name, self.key.id, self._private.sign(checkpoint.text().encode()))
        signature = self._private.sign(_cosigned_text(checkpoint.text(), time))
        return NoteSignature(self.key.name, self.key.id, time.to_bytes(_TIME_BYTES) + signature)


class MlDsaSigner:
    """ML-DSA-44, as a log or as a witness: the format is the same (type 6)."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._private = MLDSA44PrivateKey.from_seed_bytes(seed)
        public = self._private.public_key().public_bytes_raw()
        self.key = VerifierKey(name, SignatureType.COSIGNATURE_ML_DSA_44, public)

    def sign(self, checkpoint: Checkpoint, time: int) -> NoteSignature:
        """Sign."""
        signature = self._private.sign(_cosigned_message(self.key.name, checkpoint, time))
        return NoteSignature(self.key.name, self.key.id, time.to_bytes(_TIME_BYTES) + signature)


def log_signers(origin: str, ed25519_seed: bytes, ml_dsa_seed: bytes) -> tuple[Signer, Signer]:
    """Return the two signers of a log, whose keys have its origin as their name. Seeds have 32 bytes."""
    return Ed25519Signer(origin, ed25519_seed), MlDsaSigner(origin, ml_dsa_seed)


def sign_checkpoint(checkpoint: Checkpoint, signers: Iterable[Signer], time: int) -> Note:
    """Return the note of a checkpoint."""
    return Note(checkpoint.text(), tuple(signer.sign(checkpoint, time) for signer in signers))


def signed_time(note: Note, key: VerifierKey) -> int | None:
    """Return when a key has signed the checkpoint, 0 for a kind without time, None when it has not.

    Raises PeerFault for a line of this key that does not verify: it makes the whole note bad.
    """
    signature = note.signature_of(key)
    if signature is None:
        return None
    time = 0 if key.type is SignatureType.ED25519 else int.from_bytes(signature[:_TIME_BYTES])
    try:
        match key.type:
            case SignatureType.ED25519:
                Ed25519PublicKey.from_public_bytes(key.public).verify(signature, note.text.encode())
            case SignatureType.COSIGNATURE_ED25519:
                public = Ed25519PublicKey.from_public_bytes(key.public)
                public.verify(signature[_TIME_BYTES:], _cosigned_text(note.text, time))
            case SignatureType.COSIGNATURE_ML_DSA_44:
                message = _cosigned_message(key.name, Checkpoint.parse(note.text), time)
                MLDSA44PublicKey.from_public_bytes(key.public).verify(signature[_TIME_BYTES:], message)
    except (InvalidSignature, ValueError):
        raise PeerFault("a signature of a checkpoint does not verify") from None
    return time


def open_checkpoint(encoded: bytes, keys: Sequence[VerifierKey]) -> Opened:
    """Read a checkpoint that every one of its log's keys has signed. Raises PeerFault."""
    note = parse_note(encoded)
    checkpoint = Checkpoint.parse(note.text)
    times = [signed_time(note, key) for key in keys]
    if not times or None in times or any(key.name != checkpoint.origin for key in keys):
        raise PeerFault("the log has not signed this checkpoint")
    return Opened(checkpoint, max(time for time in times if time is not None), note)


def _cosigned_text(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _cosigned_message(name: str, checkpoint: Checkpoint, time: int) -> bytes:
    return b"".join(
        (
            _ML_DSA_LABEL,
            _short(name.encode()),
            time.to_bytes(_TIME_BYTES),
            _short(checkpoint.origin.encode()),
            bytes(_TIME_BYTES),  # where the subtree begins: a checkpoint is over the whole tree
            checkpoint.size.to_bytes(_TIME_BYTES),
            checkpoint.root,
        )
    )


def _short(content: bytes) -> bytes:
    return bytes([len(content)]) + content
