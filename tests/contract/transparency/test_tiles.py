"""Trees made of tiles: they have the roots of RFC 9162, and every proof made of them holds."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varde_contract.errors import PeerFault
from varde_contract.transparency.merkle import (
    check_consistency,
    check_inclusion,
    leaf_hash,
    node_hash,
    proof_ranges,
    root_of,
    split,
)
from varde_contract.transparency.tiles import (
    EMPTY,
    TILE_BYTES,
    Edge,
    Tile,
    edge_tiles,
    grow,
    index_path,
    range_hash,
    read_index_path,
    tiles_of,
    width_of,
)

LEAVES = [leaf_hash(number.to_bytes(4)) for number in range(70_000)]


class Tiles(dict[Tile, bytes]):
    """Tiles as a store keeps them, and the edge."""

    edge: Edge = EMPTY

    def append(self, count: int) -> None:
        """Append the next leaves."""
        self.edge, growth = grow(self.edge, LEAVES[self.edge.size : self.edge.size + count])
        for tile, hashes in growth:
            self[tile] = self.get(tile, b"") + hashes


def recursive_root(leaves: list[bytes]) -> bytes:
    """The definition of RFC 9162 section 2.1.1."""
    if len(leaves) == 1:
        return leaves[0]
    half = split(len(leaves))
    return node_hash(recursive_root(leaves[:half]), recursive_root(leaves[half:]))


@given(steps=st.lists(st.integers(0, 600), max_size=8))
def test_a_tree_grows_in_any_steps(steps: list[int]) -> None:
    """Each root is that of the definition, and the edge is what the tiles hold."""
    tiles = Tiles()
    for step in steps:
        tiles.append(step)
        size = tiles.edge.size
        if size:
            assert tiles.edge.root() == recursive_root(LEAVES[:size]) == root_of(LEAVES[:size])
        for tile in edge_tiles(size):
            partial = tiles.edge.partial[tile.level]
            assert tiles.get(tile, b"") == partial
            assert len(partial) == 32 * width_of(tile, size)
        assert all(len(hashes) == 32 * width_of(tile, size) for tile, hashes in tiles.items())


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 511, 65_535, 65_536, 65_537, 70_000])
def test_proofs_made_of_tiles_hold(size: int) -> None:
    """For leaves and older sizes at every kind of place; no proof reads more tiles than there are levels and edges."""
    tiles = Tiles()
    tiles.append(size)
    root = tiles.edge.root()
    for index in {0, 1, 254, 255, 256, size // 2, size - 2, size - 1} & set(range(size)):
        ranges = list(proof_ranges(index, index + 1, size))
        assert len(tiles_of(ranges)) <= 5
        read = {tile: tiles[tile] for tile in tiles_of(ranges)}
        proof = [range_hash(each, read.__getitem__) for each in ranges]
        check_inclusion(index, size, LEAVES[index], root, proof)
        with pytest.raises(PeerFault):
            check_inclusion(index, size, LEAVES[(index + 1) % len(LEAVES)], root, proof)
    for old in {1, 2, 255, 256, 257, size // 2, size - 1, size} & set(range(1, size + 1)):
        ranges = list(proof_ranges(0, old, size))
        read = {tile: tiles[tile] for tile in tiles_of(ranges)}
        proof = [range_hash(each, read.__getitem__) for each in ranges]
        old_root = range_hash(range(old), tiles.__getitem__)
        check_consistency(old, size, old_root, root, proof)
        with pytest.raises(PeerFault):
            check_consistency(old, size, leaf_hash(b"another"), root, proof)


def test_a_tile_that_is_too_narrow_is_refused() -> None:
    """A log that withholds the end of a tile proves nothing."""
    with pytest.raises(PeerFault, match="narrower"):
        range_hash(range(4), lambda _: LEAVES[0] * 3)


@pytest.mark.parametrize(
    ("index", "width", "path"),
    [
        (0, 256, "000"),
        (0, 1, "000.p/1"),
        (999, 256, "999"),
        (1_000, 255, "x001/000.p/255"),
        (1_234_067, 256, "x001/x234/067"),
    ],
)
def test_paths_are_those_of_the_specification(index: int, width: int, path: str) -> None:
    """Both ways."""
    assert index_path(index, width) == path
    assert read_index_path(path) == (index, width)


@pytest.mark.parametrize(
    "path",
    ["", "0", "00", "0000", "x000/001", "x001/x234/067/", "067.p/0", "067.p/256", "067.p/01", "x01/067", "\u0660" * 3],
)
def test_another_spelling_of_a_path_is_refused(path: str) -> None:
    """One tile has one address, or caches would keep several."""
    with pytest.raises(PeerFault):
        read_index_path(path)


def test_a_full_tile_has_8192_bytes() -> None:
    """As the specification says."""
    tiles = Tiles()
    for some in (1, 254, 1, 256):
        tiles.append(some)
    assert [len(tiles[Tile(0, index)]) for index in (0, 1)] == [TILE_BYTES, TILE_BYTES] == [8_192, 8_192]
    assert all(first != second for first, second in pairwise(tiles.values()))
