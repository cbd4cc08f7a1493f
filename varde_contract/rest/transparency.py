"""The transparency log over HTTP: look-ups, and proofs of consistency. Notes and tiles travel as C2SP has them."""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from varde_contract.transparency.merkle import HASH_BYTES, PROOF_MOST

Digest: TypeAlias = Annotated[
    bytes,
    Meta(
        min_length=HASH_BYTES,
        max_length=HASH_BYTES,
        description="32 bytes of SHA-256, base64.",
        extra_json_schema={"pattern": "^[A-Za-z0-9+/]{43}=$"},
    ),
]
Proof: TypeAlias = Annotated[
    tuple[Digest, ...], Meta(max_length=PROOF_MOST, description="Hashes as RFC 9162 orders them.")
]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class LoggedList(Struct, frozen=True):
    """A device list in the log. The leaf is account, number and digest; `proof` is for the checkpoint beside it."""

    number: Annotated[int, Meta(ge=1, le=2**63 - 1, description="The number of the list.")]
    digest: Digest
    index: Count
    proof: Proof


class LogLookup(Struct, frozen=True):
    """The entries of an account in the order of their numbers, at most 64; and the newest checkpoint, a signed note."""

    checkpoint: str
    entries: tuple[LoggedList, ...]


class ConsistencyProof(Struct, frozen=True):
    """That the tree of one size is the beginning of the tree of another."""

    proof: Proof
