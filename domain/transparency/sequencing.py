"""Sequencing: what is pending is appended to the tree, and the tree is signed."""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from domain.transparency.model import SignedHead
from domain.transparency.ports import LogStore
from varde_contract.limits import SECOND_MS
from varde_contract.transparency.checkpoint import Checkpoint, Signer, sign_checkpoint
from varde_contract.transparency.merkle import EMPTY_ROOT, HASH_BYTES
from varde_contract.transparency.tiles import Edge, edge_tiles, grow, range_hash, tiles_of

BATCH: Final = 10_000
"""Entries of one checkpoint. With one checkpoint a second, a backlog of a million is gone in two minutes."""
REFRESH_MS: Final = 50 * SECOND_MS
"""A checkpoint is signed again after that: at least each minute, also when nothing changed, so that a client can tell a
quiet log from a server that hides its end."""


class LogFault(Exception):
    """Signing would make two histories of one log: nothing is signed until a person has looked."""


class Signed(NamedTuple):
    """A tree that was signed before, as whoever signs remembers it: outside of the database."""

    size: int
    root: bytes


class LogSigner(Protocol):
    """Who signs a log, and remembers what."""

    @property
    def signers(self) -> Sequence[Signer]:
        """The keys of the log. Their name is its origin."""

    def last(self) -> Signed | None:
        """Return what was signed last, by a memory outside of the database."""

    def remember(self, last: Signed) -> None:
        """Remember it, before anybody else relies on it."""


async def sequence(
    store: LogStore, signers: Sequence[Signer], now_ms: int, last: Signed | None = None
) -> SignedHead | None:
    """Append one batch and sign; return the new checkpoint, None when there was nothing to do or somebody else did it.

    `last` is what was signed before, by the signer's own memory. Raises LogFault, StoreUnavailable.
    """
    head, pending = await store.head(), await store.pending(BATCH)
    # `abs`: one that was signed with a clock that was ahead would otherwise be fresh until its time has come.
    if head is not None and not pending and abs(now_ms - head.signed_ms) < REFRESH_MS:
        return None
    vkeys = "\n".join(str(signer.key) for signer in signers)
    if head is not None and head.vkeys != vkeys:
        raise LogFault("the log in the database was signed with other keys than these")
    edge = await _edge(store, head)
    await _compare(store, edge, last)
    edge, growth = grow(edge, [each.entry.leaf() for each in pending])
    checkpoint = Checkpoint(signers[0].key.name, edge.size, edge.root())
    note = sign_checkpoint(checkpoint, signers, now_ms // SECOND_MS)
    signed = SignedHead(checkpoint.size, checkpoint.root, note.encode(), vkeys, now_ms)
    return signed if await store.append(head, pending, growth, signed) else None


async def _edge(store: LogStore, head: SignedHead | None) -> Edge:
    size, root = (0, EMPTY_ROOT) if head is None else (head.size, head.root)
    wanted = list(edge_tiles(size))
    found = await store.tiles(wanted)
    width = [(size >> 8 * tile.level) % 256 * HASH_BYTES for tile in wanted]
    # A tile may be wider than the head says: somebody else has appended since. Then our append will be refused.
    edge = Edge(size, tuple(found.get(tile, b"")[:bytes_] for tile, bytes_ in zip(wanted, width, strict=True)))
    if any(len(have) != want for have, want in zip(edge.partial, width, strict=True)) or edge.root() != root:
        raise LogFault("the tiles in the database are not those that were signed")
    return edge


async def _compare(store: LogStore, edge: Edge, last: Signed | None) -> None:
    """A database that was restored from a backup has lost entries that clients have seen: it must not go on."""
    if last is None or last.size == 0 or last == (edge.size, edge.root()):
        return
    if edge.size < last.size:
        raise LogFault(f"the log in the database ends at {edge.size}, and {last.size} entries were signed before")
    subtree = range(last.size)
    tiles = await store.tiles(tiles_of([subtree]))
    if range_hash(subtree, tiles.__getitem__) != last.root:
        raise LogFault("the log in the database is another one than the one signed before")
