"""The transparency log over HTTP: anybody can check all of it with nothing but what is served."""

import msgspec
import pytest

from domain.transparency.sequencing import sequence
from tests.api.memory_api import DeviceClient, MemoryApi, refusal_of
from tests.cast import BIRTH_MS, alice, alice_phone, bob
from tests.contract.transparency.logs import KEYS, SIGNERS, vkeys
from varde_contract.refusals import RefusalCode
from varde_contract.rest.transparency import ConsistencyProof, LogLookup
from varde_contract.transparency.checkpoint import open_checkpoint
from varde_contract.transparency.entry import Entry, split_entries
from varde_contract.transparency.merkle import check_consistency, check_inclusion, root_of

FOR_EVER = "public, max-age=31536000, immutable"


async def fill(api: MemoryApi, count: int, first: int = 1) -> list[Entry]:
    """So many lists of alice, sequenced, and nothing else: the true lists of the cast are not."""
    api.memory.transparency.pending.clear()
    entries = [Entry(alice.account, number, number.to_bytes(32)) for number in range(first, first + count)]
    await api.stores.transparency.enqueue(entries)
    assert await sequence(api.stores.transparency, SIGNERS, BIRTH_MS) is not None
    return entries


async def test_a_look_up_is_proven(api: MemoryApi) -> None:
    """Entries from a number on, each in the checkpoint that comes with them."""
    entries = await fill(api, 5)
    client = DeviceClient(api, alice_phone)
    found = await client.get(LogLookup, f"/v1/log/lookup/{alice.account}", number=4)
    checkpoint = open_checkpoint(found.checkpoint.encode(), KEYS).checkpoint
    assert [(each.number, each.digest) for each in found.entries] == [(4, entries[3].digest), (5, entries[4].digest)]
    for each in found.entries:
        leaf = Entry(alice.account, each.number, each.digest).leaf()
        check_inclusion(each.index, checkpoint.size, leaf, checkpoint.root, each.proof)
    assert (await client.get(LogLookup, f"/v1/log/lookup/{bob.account}")).entries == ()
    assert len((await client.get(LogLookup, f"/v1/log/lookup/{alice.account}")).entries) == 5


async def test_all_else_is_for_anybody(api: MemoryApi) -> None:
    """Key, checkpoint, tiles, entries and consistency are served to nobody in particular, tiles for ever."""
    entries = await fill(api, 300)
    leaves = [entry.leaf() for entry in entries]
    key, note = await api.ask("GET", "/v1/log/key"), await api.ask("GET", "/v1/log/checkpoint")
    assert key.text.split() == vkeys(*KEYS)
    assert note.headers["content-type"] == key.headers["content-type"] == "text/plain; charset=utf-8"
    assert note.headers["cache-control"] == "public, max-age=1"
    assert open_checkpoint(note.content, KEYS).checkpoint.root == root_of(leaves)
    for path, content in (
        ("0/000", b"".join(leaves[:256])),
        ("0/001.p/44", b"".join(leaves[256:])),
        ("1/000.p/1", root_of(leaves[:256])),
    ):
        tile = await api.ask("GET", f"/v1/log/tile/{path}")
        assert (tile.status_code, tile.content) == (200, content)
        assert tile.headers["cache-control"] == FOR_EVER
        assert tile.headers["content-type"] == "application/octet-stream"
    bundle = await api.ask("GET", "/v1/log/tile/entries/001.p/44")
    assert split_entries(bundle.content) == entries[256:]
    assert bundle.headers["cache-control"] == FOR_EVER
    found = await api.ask("GET", "/v1/log/consistency/7/300")
    proof = msgspec.json.decode(found.content, type=ConsistencyProof).proof
    check_consistency(7, 300, root_of(leaves[:7]), root_of(leaves), proof)


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/001.p/45",
        "tile/0/001",
        "tile/0/1",
        "tile/0/x000/001.p/44",
        "tile/64/000.p/1",
        f"tile/{2**70}/000.p/1",
        "tile/entries/001",
        "tile/entries/abc",
        "tile/entries/x999/x999/x999/x999/x999/999",
        "consistency/0/300",
        "consistency/7/301",
        "consistency/8/7",
        f"consistency/1/{2**80}",
        "checkpoint/cosigned",
        "nothing",
    ],
)
async def test_what_the_log_does_not_have_is_not_found(api: MemoryApi, path: str) -> None:
    """Also under another spelling, so that no cache keeps one tile twice."""
    await fill(api, 300)
    assert refusal_of(await api.ask("GET", f"/v1/log/{path}"), 404) is RefusalCode.NOT_FOUND


async def test_before_the_first_checkpoint_there_is_nothing_to_show(api: MemoryApi) -> None:
    """A worker has to run; and a look-up needs a token."""
    lookup = f"/v1/log/lookup/{alice.account}"
    for path in ("/v1/log/key", "/v1/log/checkpoint", lookup):
        assert refusal_of(await api.ask("GET", path, by=alice_phone), 404) is RefusalCode.NOT_FOUND
    assert refusal_of(await api.ask("GET", lookup), 401) is RefusalCode.UNAUTHENTICATED


async def test_the_cosigned_checkpoint_is_served_beside_the_newest(api: MemoryApi) -> None:
    """It may be behind it."""
    await fill(api, 1)
    old = await api.stores.transparency.head()
    assert old is not None
    await api.stores.transparency.keep_cosigned(old)
    await fill(api, 1, first=2)
    assert (await api.ask("GET", "/v1/log/checkpoint/cosigned")).content == old.note
    assert (await api.ask("GET", "/v1/log/checkpoint")).content != old.note
