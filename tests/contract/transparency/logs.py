"""A small log with keys of its own, for tests: it signs whatever it is asked to."""

from varde_contract.transparency.checkpoint import (
    Checkpoint,
    Ed25519Signer,
    MlDsaSigner,
    Signer,
    log_signers,
    sign_checkpoint,
)
from varde_contract.transparency.merkle import leaf_hash, root_of
from varde_contract.transparency.note import Note, SignatureType, VerifierKey

ORIGIN = "log.example/varde"
LEAVES = [leaf_hash(bytes([number])) for number in range(100)]
SIGNERS = log_signers(ORIGIN, b"e" * 32, b"m" * 32)
KEYS = tuple(signer.key for signer in SIGNERS)
WITNESS = Ed25519Signer("witness.example/one", b"w" * 32, SignatureType.COSIGNATURE_ED25519)
PQ_WITNESS = MlDsaSigner("witness.example/two", b"v" * 32)
NOW = 1_700_000_000


def checkpoint(size: int, leaves: list[bytes] = LEAVES) -> Checkpoint:
    """The tree over the first leaves."""
    return Checkpoint(ORIGIN, size, root_of(leaves[:size]))


def note(size: int, leaves: list[bytes] = LEAVES, *, signers: tuple[Signer, ...] = SIGNERS, time: int = NOW) -> Note:
    """The same, signed."""
    return sign_checkpoint(checkpoint(size, leaves), signers, time)


def vkeys(*keys: VerifierKey) -> list[str]:
    """As text."""
    return [str(key) for key in keys]
