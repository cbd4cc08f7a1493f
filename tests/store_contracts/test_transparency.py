"""The contract of the log: entries come once and stay, in one order, however many append; everything else is proven."""

from collections.abc import Iterable, Sequence
from typing import cast

import pytest
import trio

from domain.ports import Stores, StoreUnavailable
from domain.transparency.log import LOOKUP_MOST, Log
from domain.transparency.model import Backlog, SignedHead
from domain.transparency.ports import LogStore
from domain.transparency.sequencing import REFRESH_MS, LogFault, Signed, sequence
from tests.cast import BIRTH_MS, alice, bob
from tests.contract.transparency.logs import KEYS, SIGNERS
from tests.ids import id_of
from varde_contract.ids import AccountId
from varde_contract.transparency.checkpoint import Ed25519Signer, open_checkpoint
from varde_contract.transparency.entry import Entry, split_entries
from varde_contract.transparency.merkle import EMPTY_ROOT, check_consistency, check_inclusion, root_of
from varde_contract.transparency.tiles import Tile

OTHERS = AccountId(id_of(0xF00D))


def entries(account: AccountId, first: int, count: int = 1) -> list[Entry]:
    """Lists of an account."""
    return [Entry(account, number, number.to_bytes(32)) for number in range(first, first + count)]


async def append(log: LogStore, wanted: Sequence[Entry], now_ms: int = BIRTH_MS) -> SignedHead:
    """Enqueue and sequence."""
    await log.enqueue(wanted)
    head = await sequence(log, SIGNERS, now_ms)
    assert head is not None
    return head


async def test_what_is_enqueued_is_proven(stores: Stores) -> None:
    """Every entry of an account, in the order of its lists, in the checkpoint that comes with it."""
    log, heads = Log(stores.transparency), []
    assert await log.lookup(alice.account, 1) is None
    heads.append(await append(stores.transparency, [*entries(alice.account, 1, 2), *entries(OTHERS, 1, 300)]))
    heads.append(await append(stores.transparency, [*entries(bob.account, 1), *entries(alice.account, 3)]))
    found = await log.lookup(alice.account, 2)
    assert found is not None
    head, proven = found
    checkpoint = open_checkpoint(head.note, KEYS).checkpoint
    assert (checkpoint.size, checkpoint.root) == (head.size, head.root) == (304, heads[-1].root)
    assert [each.logged.entry for each in proven] == entries(alice.account, 2, 2)
    for each in proven:
        check_inclusion(each.logged.index, head.size, each.logged.entry.leaf(), head.root, each.hashes)
    proof = await log.consistency(302, 304)
    assert proof is not None
    check_consistency(302, 304, heads[0].root, heads[1].root, proof)
    assert await log.lookup(AccountId(id_of(1)), 1) == (head, [])
    many = await append(stores.transparency, entries(alice.account, 4, LOOKUP_MOST + 1))
    found = await log.lookup(alice.account, 4)
    assert found is not None
    assert found[0] == many
    assert len(found[1]) == LOOKUP_MOST


async def test_tiles_and_bundles_are_those_of_the_checkpoint(stores: Stores) -> None:
    """As wide as asked for, never wider than what was signed."""
    log = Log(stores.transparency)
    assert await log.tile(Tile(0, 0), 1) is None
    assert await log.bundle(0, 1) is None
    assert await log.consistency(1, 1) is None
    wanted = entries(OTHERS, 1, 600)
    head = await append(stores.transparency, wanted)
    leaves = [each.leaf() for each in wanted]
    assert await log.tile(Tile(0, 1), 256) == b"".join(leaves[256:512])
    assert await log.tile(Tile(0, 2), 88) == b"".join(leaves[512:])
    assert await log.tile(Tile(0, 2), 5) == b"".join(leaves[512:517])
    assert await log.tile(Tile(1, 0), 2) == root_of(leaves[:256]) + root_of(leaves[256:512])
    assert head.root == root_of(leaves)
    assert split_entries(await log.bundle(2, 88) or b"") == wanted[512:]
    assert split_entries(await log.bundle(1, 256) or b"") == wanted[256:512]
    for tile, width in ((Tile(0, 2), 89), (Tile(0, 3), 1), (Tile(1, 0), 3), (Tile(2, 0), 1), (Tile(9, 0), 1)):
        assert await log.tile(tile, width) is None
    assert await log.bundle(2, 89) is None
    for old, size in ((0, 600), (1, 601), (7, 6)):
        assert await log.consistency(old, size) is None


class Replica:
    """A copy of the log as it was at a moment; without one, a server that does not answer."""

    def __init__(self, log: LogStore) -> None:
        self._log = log
        self._size: int | None = None
        self._tiles: dict[Tile, bytes] = {}

    async def copy(self, size: int, tiles: Iterable[Tile]) -> None:
        """Keep these tiles as they are now, and the first entries."""
        self._size, self._tiles = size, await self._log.tiles(tiles)

    async def tiles(self, tiles: Iterable[Tile]) -> dict[Tile, bytes]:
        """Return those that were there."""
        self._answer()
        return {tile: self._tiles[tile] for tile in tiles if tile in self._tiles}

    async def entries(self, first: int, count: int) -> Sequence[Entry]:
        """Return those that were there."""
        return await self._log.entries(first, max(0, min(count, self._answer() - first)))

    def _answer(self) -> int:
        if self._size is None:
            raise StoreUnavailable("a replica that is away")
        return self._size


class Head:
    """A primary that answers nothing else."""

    def __init__(self, log: LogStore) -> None:
        self.head = log.head


async def test_a_replica_that_is_behind_or_away_changes_no_answer(stores: Stores) -> None:
    """What it does not have yet comes from the primary; what it has, from it alone."""
    store = stores.transparency
    replica = Replica(store)
    first = await append(store, entries(OTHERS, 1, 300))
    await replica.copy(300, [Tile(0, 0), Tile(0, 1)])
    head = await append(store, [*entries(OTHERS, 301, 300), *entries(alice.account, 1)])

    async def read(log: Log) -> list[object]:
        tiles = [await log.tile(Tile(level, index), width) for level, index, width in ((0, 0, 256), (0, 1, 256))]
        bundles = [await log.bundle(index, width) for index, width in ((0, 256), (1, 44), (1, 256), (2, 89))]
        return [*tiles, *bundles, await log.consistency(first.size, head.size), await log.lookup(alice.account, 1)]

    expected = await read(Log(store))
    assert None not in expected
    assert await read(Log(store, replica)) == expected
    assert await read(Log(store, Replica(store))) == expected


async def test_a_replica_spares_the_primary(stores: Stores) -> None:
    """Of what a replica has, the primary is asked for nothing but the newest checkpoint."""
    await append(stores.transparency, entries(OTHERS, 1, 300))
    replica = Replica(stores.transparency)
    await replica.copy(300, [Tile(0, 0), Tile(0, 1), Tile(1, 0)])
    log = Log(cast("LogStore", Head(stores.transparency)), replica)
    assert await log.tile(Tile(0, 1), 44)
    assert await log.bundle(1, 44)
    assert await log.consistency(256, 300)


async def test_a_quiet_log_is_signed_again(stores: Stores) -> None:
    """Before a minute has passed; an empty one too. Sooner there is nothing to do."""
    log = stores.transparency
    first = await sequence(log, SIGNERS, BIRTH_MS)
    assert first is not None
    assert (first.size, first.root) == (0, EMPTY_ROOT)
    assert await sequence(log, SIGNERS, BIRTH_MS + REFRESH_MS - 1) is None
    again = await sequence(log, SIGNERS, BIRTH_MS + REFRESH_MS)
    assert again is not None
    assert open_checkpoint(again.note, KEYS).time == (BIRTH_MS + REFRESH_MS) // 1_000
    assert await log.head() == again
    assert REFRESH_MS < 60_000


async def test_a_log_of_the_future_is_signed_again(stores: Stores) -> None:
    """A clock was an hour ahead and is set right: clients refuse what it signed, so nobody waits for that hour."""
    log = stores.transparency
    assert await sequence(log, SIGNERS, BIRTH_MS + 3_600_000) is not None
    again = await sequence(log, SIGNERS, BIRTH_MS)
    assert again is not None
    assert open_checkpoint(again.note, KEYS).time == BIRTH_MS // 1_000


async def test_two_that_append_at_once_make_one_log(nodes: tuple[Stores, Stores]) -> None:
    """Each entry is in it once, and a checkpoint that came second was never stored."""
    for number in range(1, 6):
        await nodes[0].transparency.enqueue(entries(OTHERS, number * 100, 20))
        async with trio.open_nursery() as nursery:
            for node in nodes:
                nursery.start_soon(sequence, node.transparency, SIGNERS, BIRTH_MS)
    await sequence(nodes[0].transparency, SIGNERS, BIRTH_MS)
    head, stored = await nodes[1].transparency.head(), await nodes[1].transparency.entries(0, 1_000)
    assert head is not None
    assert [each.number for each in stored] == [n * 100 + m for n in range(1, 6) for m in range(20)]
    assert head.root == root_of([each.leaf() for each in stored])
    assert await nodes[0].transparency.pending(9) == []


async def test_an_append_over_another_checkpoint_changes_nothing(stores: Stores) -> None:
    """Nor does one of entries that are not in the queue any more."""
    log = stores.transparency
    first = await append(log, entries(OTHERS, 1))
    await log.enqueue(entries(OTHERS, 2))
    pending = await log.pending(9)
    assert not await log.append(None, pending, [], first)
    second = await sequence(log, SIGNERS, BIRTH_MS)
    assert second is not None
    assert not await log.append(first, pending, [], second)
    assert not await log.append(second, pending, [], first)
    assert await log.head() == second
    assert [each.number for each in await log.entries(0, 9)] == [1, 2]


async def test_the_cosigned_checkpoint_never_becomes_smaller(stores: Stores) -> None:
    """It is kept beside the newest one."""
    log = stores.transparency
    assert await log.head(cosigned=True) is None
    small, large = await append(log, entries(OTHERS, 1)), await append(log, entries(OTHERS, 2))
    for head, kept in ((small, small), (large, large), (small, large)):
        await log.keep_cosigned(head)
        assert await log.head(cosigned=True) == kept
    assert await log.head() == large


async def test_an_alert_has_something_to_ask(stores: Stores) -> None:
    """How many wait, and how old the checkpoint is."""
    log = stores.transparency
    assert await log.backlog() == Backlog(0, None)
    await append(log, entries(OTHERS, 1))
    await log.enqueue(entries(OTHERS, 2, 3))
    assert await log.backlog() == Backlog(3, BIRTH_MS)


async def test_who_signs_does_not_make_two_histories(stores: Stores) -> None:
    """A database that lost entries, was exchanged, or was signed by others is not signed."""
    log = stores.transparency
    first, second = await append(log, entries(OTHERS, 1)), await append(log, entries(OTHERS, 2))
    await log.enqueue(entries(OTHERS, 3))
    for last, why in (
        (Signed(3, second.root), "3 entries were signed before"),
        (Signed(2, first.root), "another one"),
        (Signed(1, second.root), "another one"),
    ):
        with pytest.raises(LogFault, match=why):
            await sequence(log, SIGNERS, BIRTH_MS, last)
    with pytest.raises(LogFault, match="other keys"):
        await sequence(log, (Ed25519Signer("stranger", b"s" * 32),), BIRTH_MS)
    assert await log.head() == second
    assert await sequence(log, SIGNERS, BIRTH_MS, Signed(1, first.root)) is not None


async def test_tiles_that_were_changed_are_not_signed(stores: Stores) -> None:
    """Whoever writes to the database alone cannot have the log sign it."""
    log = stores.transparency
    head = await append(log, entries(OTHERS, 1))
    forged = SignedHead(head.size, bytes(32), head.note, head.vkeys, head.signed_ms)
    assert await log.append(head, [], [], forged)
    await log.enqueue(entries(OTHERS, 2))
    with pytest.raises(LogFault, match="not those that were signed"):
        await sequence(log, SIGNERS, BIRTH_MS)
