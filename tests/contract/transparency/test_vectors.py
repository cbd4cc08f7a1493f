"""The checks of the tree against the public vectors: every proof that holds, and every way in which one does not."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.vectors import find_vectors
from varde_contract.errors import PeerFault
from varde_contract.transparency.merkle import check_consistency, check_inclusion, check_subtree

VECTORS = {"inclusion": 98, "consistency": 98, "subtreeinclusion": 204, "subtreeconsistency": 118}


def read_vectors(kind: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Walk the files of one kind."""
    for path in sorted(find_vectors("merkle", "testdata", kind).rglob("*.json")):
        yield path, json.loads(path.read_text())


def octets(text: str | None) -> bytes:
    """Base64; nothing for null."""
    return base64.b64decode(text or "")


def check(kind: str, vector: dict[str, Any]) -> None:
    """Check the proof of a vector."""
    proof = [octets(each) for each in vector["proof"] or ()]
    if kind.endswith("inclusion"):
        start, end = vector.get("start", 0), vector.get("treeSize", vector.get("end"))
        index, leaf, root = vector["leafIdx"] - start, octets(vector["leafHash"]), octets(vector["root"])
        # A subtree that is no place in a tree has no leaves to prove.
        if start and start % (1 << (end - start - 1).bit_length()):
            raise PeerFault("no subtree")
        check_inclusion(index, end - start, leaf, root, proof)
        return
    roots = octets(vector["root1"]), octets(vector["root2"])
    if kind == "consistency":
        check_consistency(vector["size1"], vector["size2"], *roots, proof)
    else:
        check_subtree(vector["start"], vector["end"], vector["size"], *roots, proof)


@pytest.mark.parametrize("kind", VECTORS)
def test_every_vector_is_judged_as_it_says(kind: str) -> None:
    """None is left out, and none is judged otherwise."""
    wrong, seen = [], 0
    for path, vector in read_vectors(kind):
        seen += 1
        try:
            check(kind, vector)
            refused = False
        except PeerFault:
            refused = True
        if refused != vector["wantErr"]:
            wrong.append((str(path), vector["desc"], refused))
    assert wrong == []
    assert seen == VECTORS[kind]
