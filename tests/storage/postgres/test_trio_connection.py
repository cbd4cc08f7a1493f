"""The journal's own connections to Postgres: they are used, replaced when dead, and never needed."""

from functools import partial

import pytest
import trio

from domain.ports import Stores, StoreUnavailable
from domain.talk import model as talk_model
from settings.storage import StorageSettings
from storage.database import Connection
from storage.island import Island
from storage.postgres import protocol, trio_connection
from storage.postgres.pool import Timeouts
from storage.stores import open_storage
from tests.cast import alice, alice_phone, bob, open_conversation, settle
from tests.storage.postgres.test_errors import hold, let_go, wait_blocked
from tests.store_contracts.messages import draft
from varde_contract.ids import ConversationId

OPEN = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'varde' AND query LIKE '%journal_commit%'
"""
CUT = OPEN.replace("pid", "count(pg_terminate_backend(pid))", 1)


@pytest.fixture
async def talk(stores: Stores) -> ConversationId:
    """A conversation of two."""
    await settle(stores, alice, bob)
    return await open_conversation(stores, alice, bob)


async def seqs(stores: Stores, *drafts: talk_model.Draft) -> list[int]:
    """Commit, and return the numbers."""
    return [each.seq for each in await stores.journal.commit(drafts) if isinstance(each, talk_model.Committed)]


async def test_one_connection_serves_commits_one_after_the_other(
    stores: Stores, talk: ConversationId, island: Island, beside: Connection
) -> None:
    """As long as nobody commits at the same time, there is one."""
    for seq in (1, 2, 3):
        assert await seqs(stores, draft(alice_phone, talk)) == [seq]
    assert len(await island.run(beside.fetch, OPEN)) == 1


async def test_a_connection_that_died_unused_is_replaced(
    stores: Stores, talk: ConversationId, island: Island, beside: Connection
) -> None:
    """A database that was restarted in between costs no commit."""
    for seq in (1, 2, 3):
        assert await seqs(stores, draft(alice_phone, talk)) == [seq]
        assert await island.run(beside.fetchval, CUT) == 1
        with trio.fail_after(30):
            while await island.run(beside.fetch, OPEN):
                await trio.lowlevel.checkpoint()


async def test_a_cancelled_commit_leaves_no_connection_in_use(
    stores: Stores, talk: ConversationId, island: Island, beside: Connection
) -> None:
    """Nobody hears an answer that was meant for another, however often somebody gives up."""
    for _ in range(2 * trio_connection.CONNECTIONS_MAX):
        await hold(island, beside, "SELECT FROM conversation FOR UPDATE")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(stores.journal.commit, [draft(alice_phone, talk)]))
            await wait_blocked(island, beside)
            nursery.cancel_scope.cancel()
        await let_go(island, beside)
    mine = draft(alice_phone, talk)
    (first,) = await stores.journal.commit([mine])
    (again,) = await stores.journal.commit([mine])
    assert isinstance(first, talk_model.Committed)
    assert isinstance(again, talk_model.Committed)
    assert (again.message, again.seq, again.duplicate) == (first.message, first.seq, True)


async def test_more_commits_than_connections_go_over_the_island(
    stores: Stores, talk: ConversationId, island: Island, beside: Connection
) -> None:
    """Who finds all connections busy does not wait for one."""
    drafts = [draft(alice_phone, talk) for _ in range(3 * trio_connection.CONNECTIONS_MAX)]
    found: list[int] = []

    async def commit(mine: talk_model.Draft) -> None:
        found.extend(await seqs(stores, mine))

    async with trio.open_nursery() as nursery:
        for mine in drafts:
            nursery.start_soon(commit, mine)
    assert sorted(found) == list(range(1, len(drafts) + 1))
    assert len(await island.run(beside.fetch, "SELECT FROM message")) == len(drafts)


async def test_a_connection_without_an_answer_is_given_up(
    config: StorageSettings, island: Island, beside: Connection
) -> None:
    """A commit has a deadline, and what comes after is not held up by it."""
    async with open_storage(config, timeouts=Timeouts(acquire=5, statement=0.5)) as stores:
        await settle(stores, alice, bob)
        talk = await open_conversation(stores, alice, bob)
        await hold(island, beside, "SELECT FROM conversation FOR UPDATE")
        for _ in range(trio_connection.CONNECTIONS_MAX + 1):
            with pytest.raises(StoreUnavailable):
                await stores.journal.commit([draft(alice_phone, talk)])
        await let_go(island, beside)
        assert len(await seqs(stores, draft(alice_phone, talk))) == 1


def test_an_answer_is_read_however_it_is_cut() -> None:
    """Rows, nulls and the end are found in pieces of any size."""
    row = b"D" + (4 + 2 + 4 + 3 + 4).to_bytes(4) + b"\0\2" + b"\0\0\0\3abc" + b"\xff\xff\xff\xff"
    octets = b"2\0\0\0\4" + row + row + b"C\0\0\0\x0dSELECT 2\0" + b"Z\0\0\0\5I"
    for size in range(1, len(octets) + 1):
        answer = protocol.Answer()
        for start in range(0, len(octets), size):
            assert not answer.complete
            answer.feed(octets[start : start + size])
        assert answer.complete
        assert [protocol.columns(each) for each in answer.rows()] == [[b"abc", None]] * 2


@pytest.mark.parametrize("length", [0, 3, 2**31 - 1])
def test_nonsense_is_no_answer(length: int) -> None:
    """A length that cannot be ends the connection instead of being waited for."""
    with pytest.raises(ConnectionError):
        protocol.Answer().feed(b"D" + length.to_bytes(4))
