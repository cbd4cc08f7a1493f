"""The Merkle tree of RFC 9162 section 2.1: its hashes, and the checks of inclusion and consistency.

Both are one: a proof that a subtree is in a tree (draft-ietf-plants-merkle-tree-certs). RFC 9162 walks up along the
bits of the index; written as the recursion that makes the proof, the check has half the lines and the same vectors.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

from varde_contract.errors import PeerFault

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256().digest()
PROOF_MOST: Final = 63
"""Hashes in one proof: a size is below 2**63."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry."""
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two subtrees."""
    # A leaf has a zero in front, a node a one: neither can pass for the other (RFC 9162 section 2.1.1).
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes, or over the roots of equally large full subtrees."""
    if not hashes:
        return EMPTY_ROOT
    # An odd one at the end moves up as it is: the same tree as in RFC 9162, which splits from the top.
    while len(hashes) > 1:
        odd = hashes[-1:] if len(hashes) % 2 else ()
        hashes = [*map(node_hash, hashes[::2], hashes[1::2]), *odd]
    return hashes[0]


def split(size: int) -> int:
    """Return the largest power of two below a size of at least 2: where a tree parts."""
    return 1 << (size - 1).bit_length() - 1


def proof_ranges(start: int, end: int, size: int, offset: int = 0, *, known: bool = True) -> Iterator[range]:
    """Walk the subtrees whose roots prove that the leaves from `start` to before `end` are in the tree of `size`.

    From 0 it is a consistency proof, over one leaf an inclusion proof. The subtree itself is left out while it is
    `known` whole: the verifier has its root.
    """
    if (start, end) == (0, size):
        if not known:
            yield range(offset, offset + size)
        return
    half = split(size)
    if end <= half:
        yield from proof_ranges(start, end, half, offset, known=known)
        yield range(offset + half, offset + size)
    else:
        known = known and start >= half
        yield from proof_ranges(max(start - half, 0), end - half, size - half, offset + half, known=known)
        yield range(offset, offset + half)


def check_inclusion(index: int, size: int, leaf: bytes, root: bytes, proof: Sequence[bytes]) -> None:
    """Check that a leaf hash is number `index` of the tree (RFC 9162 section 2.1.3.2). Raises PeerFault."""
    if not 0 <= index < size:
        raise PeerFault("no leaf of that tree has that index")
    check_subtree(index, index + 1, size, leaf, root, proof)


def check_consistency(old: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `old` leaves is the beginning of the tree of `size` (RFC 9162 section 2.1.4.2).

    An empty tree is the beginning of every tree: there is nothing to check, and to ask is a fault. Raises PeerFault.
    """
    if old == 0:
        raise PeerFault("nothing can be proven of an empty tree")
    check_subtree(0, old, size, old_root, root, proof)


def check_subtree(start: int, end: int, size: int, subtree: bytes, root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the leaves from `start` to before `end`, with this root, are those of the tree. Raises PeerFault."""
    if not 0 <= start <= end <= size or start % (1 << max(end - start - 1, 0).bit_length()):
        raise PeerFault("that is no subtree of this tree: a tree does not become smaller")
    if start == end:
        if proof or subtree != EMPTY_ROOT:
            raise PeerFault("an empty subtree needs no proof, and has one root")
        return
    rest = iter(proof)
    try:
        found = _rebuild(start, end, size, subtree, rest)
    except StopIteration:
        raise PeerFault("the proof is too short") from None
    if found != (subtree, root) or next(rest, None) is not None:
        raise PeerFault("the proof does not lead to the root")


def _rebuild(start: int, end: int, size: int, known: bytes | None, proof: Iterator[bytes]) -> tuple[bytes, bytes]:
    """Return the roots of subtree and tree as the proof has them, in the order in which `proof_ranges` walks."""
    if (start, end) == (0, size):
        found = known or next(proof)
        return found, found
    half = split(size)
    if end <= half:
        subtree, left = _rebuild(start, end, half, known, proof)
        return subtree, node_hash(left, next(proof))
    apart = start >= half  # the subtree is in the right half alone; else it starts at 0, and has all of the left
    subtree, right = _rebuild(max(start - half, 0), end - half, size - half, known if apart else None, proof)
    left = next(proof)
    return subtree if apart else node_hash(left, subtree), node_hash(left, right)
