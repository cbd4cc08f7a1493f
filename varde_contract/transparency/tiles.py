"""The tree in tiles of 256 hashes (C2SP tlog-tiles): their paths, what a proof reads of them, how they grow."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from varde_contract.errors import PeerFault
from varde_contract.transparency.merkle import EMPTY_ROOT, HASH_BYTES, node_hash, root_of, split

HEIGHT: Final = 8
"""tlog-tiles allows no other: a full tile has 256 hashes."""
WIDTH: Final = 1 << HEIGHT
TILE_BYTES: Final = WIDTH * HASH_BYTES
ENTRIES: Final = "entries"
"""Stands for the level in the path of a bundle of entries."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Which tile: `level` 0 has leaf hashes; each hash of a higher one is the root of a full tile below."""

    level: int
    index: int


class Growth(NamedTuple):
    """Hashes that belong at the end of a tile."""

    tile: Tile
    hashes: bytes


class Edge(NamedTuple):
    """The right edge of a tree: how many leaves it has, and at each level the hashes of the tile that is not full."""

    size: int
    partial: tuple[bytes, ...]

    def root(self) -> bytes:
        """Return the root of the tree."""
        return range_hash(range(self.size), lambda tile: self.partial[tile.level]) if self.size else EMPTY_ROOT


EMPTY: Final = Edge(0, ())

ReadTile = Callable[[Tile], bytes]


def edge_tiles(size: int) -> Iterator[Tile]:
    """Walk the tiles that are not full in a tree, from level 0 up to the highest that has anything."""
    level = 0
    while size:
        yield Tile(level, size // WIDTH)
        level, size = level + 1, size // WIDTH


def grow(edge: Edge, leaves: Sequence[bytes]) -> tuple[Edge, list[Growth]]:
    """Append leaf hashes; return the new edge, and what each tile gains."""
    growth: list[Growth] = []
    partial: list[bytes] = []
    size, fresh = edge.size, leaves
    while fresh or len(partial) < len(edge.partial):
        level = len(partial)
        tail = edge.partial[level] if level < len(edge.partial) else b""
        chunks = _cut(tail + b"".join(fresh), TILE_BYTES)
        gained = [chunks[0][len(tail) :], *chunks[1:]] if fresh else []
        growth += [Growth(Tile(level, size // WIDTH + number), hashes) for number, hashes in enumerate(gained)]
        partial.append(chunks[-1] if chunks and len(chunks[-1]) < TILE_BYTES else b"")
        size, fresh = size // WIDTH, [root_of(_hashes(chunk)) for chunk in chunks if len(chunk) == TILE_BYTES]
    return Edge(edge.size + len(leaves), tuple(partial)), growth


def tiles_of(subtrees: Iterable[range]) -> set[Tile]:
    """Return the tiles that hold what the roots of these subtrees are made of."""
    return {_place(part)[0] for subtree in subtrees for part in _full_parts(subtree)}


def range_hash(subtree: range, read: ReadTile) -> bytes:
    """Return the root of a subtree that is not empty, made of tiles."""
    *parts, found = (_full_hash(part, read) for part in _full_parts(subtree))
    for part in reversed(parts):
        found = node_hash(part, found)
    return found


def _full_parts(subtree: range) -> Iterator[range]:
    """Split into full subtrees, the largest first."""
    while (size := len(subtree)) & (size - 1):
        yield subtree[: split(size)]
        subtree = subtree[split(size) :]
    yield subtree


def _place(full: range) -> tuple[Tile, int, int]:
    """Return in which tile the hashes under a full subtree are, from which, and how many."""
    level, height = divmod(len(full).bit_length() - 1, HEIGHT)
    index, first = divmod(full.start >> HEIGHT * level, WIDTH)
    return Tile(level, index), first, 1 << height


def _full_hash(full: range, read: ReadTile) -> bytes:
    tile, first, count = _place(full)
    found = read(tile)[first * HASH_BYTES : (first + count) * HASH_BYTES]
    if len(found) != count * HASH_BYTES:
        raise PeerFault("a tile is narrower than its tree")
    return root_of(_hashes(found))


def _hashes(joined: bytes) -> list[bytes]:
    return _cut(joined, HASH_BYTES)


def _cut(joined: bytes, length: int) -> list[bytes]:
    return [joined[place : place + length] for place in range(0, len(joined), length)]


def width_of(tile: Tile, size: int) -> int:
    """Return how many hashes a tile has in a tree of that size."""
    return max(0, min(WIDTH, (size >> HEIGHT * tile.level) - tile.index * WIDTH))


def index_path(index: int, width: int = WIDTH) -> str:
    """Return the end of a tile's path: `x001/x234/067`, and `.p/5` for one that is five wide."""
    digits = f"{index:0{-(-len(str(index)) // 3) * 3}}"
    groups = [digits[place : place + 3] for place in range(0, len(digits), 3)]
    path = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    return path if width == WIDTH else f"{path}.p/{width}"


def read_index_path(path: str) -> tuple[int, int]:
    """Return index and width. Raises PeerFault for a path that `index_path` would not write."""
    found = _PATH.fullmatch(path)
    if found is not None:
        index, width = int(found[1].replace("/", "").replace("x", "")), int(found[2] or WIDTH)
        # One path for each tile: a cache in front must not keep it under several.
        if index_path(index, width) == path and 1 <= width <= WIDTH:
            return index, width
    raise PeerFault("that is no path of a tile")


_PATH: Final = re.compile(r"((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([0-9]{1,3}))?", re.ASCII)
"""Of 18 digits at most: the database's bigint holds all of them."""
