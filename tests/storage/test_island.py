"""What the asyncio island promises to those who call it from Trio."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator

import asyncpg
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from storage.island import Island, IslandClosed
from tests.storage.held_call import HeldCall


async def test_a_result_comes_back(island: Island) -> None:
    """What the function returns on the asyncio side is what `run` returns in Trio."""

    async def concatenate(first: str, second: str) -> tuple[str, int]:
        await asyncio.sleep(0)
        return first + second, threading.get_ident()

    text, thread = await island.run(concatenate, "a", "b")
    assert text == "ab"
    assert thread != threading.get_ident()


async def test_an_exception_comes_back(island: Island) -> None:
    """What the function raises is raised in Trio: the very exception, with its cause."""
    raised = LookupError("not there")

    async def fail() -> None:
        raise raised from OSError("disk")

    with pytest.raises(LookupError) as caught:
        await island.run(fail)
    assert caught.value is raised
    assert isinstance(raised.__cause__, OSError)


async def test_a_call_that_cannot_begin_is_the_callers_error(island: Island) -> None:
    """A function that raises before it is a coroutine, or is none, harms nobody but its caller."""

    def not_async() -> None:
        return None

    with pytest.raises(TypeError):
        await island.run(not_async)  # type: ignore[arg-type]  # the mistake this is about
    assert await island.run(asyncio.sleep, 0, "still alive") == "still alive"


async def test_run_is_a_checkpoint_even_when_cancelled_before(island: Island) -> None:
    """In a scope that is cancelled already, nothing is begun."""
    call = HeldCall(island)
    with trio.CancelScope() as scope:
        scope.cancel()
        await island.run(call)
    assert scope.cancelled_caught
    await island.run(asyncio.sleep, 0)
    assert not call.begun.is_set()


async def test_thousands_of_calls_at_once_each_get_their_own_answer(island: Island) -> None:
    """Five thousand tasks calling at the same time get five thousand right answers."""
    answers: dict[int, int] = {}

    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    async def ask(number: int) -> None:
        answers[number] = await island.run(double, number)

    async with trio.open_nursery() as nursery:
        for number in range(5_000):
            nursery.start_soon(ask, number)
    assert answers == {number: 2 * number for number in range(5_000)}


async def test_cancelling_waits_for_the_end_of_the_other_side(island: Island) -> None:
    """When `run` raises Cancelled, the asyncio task has been cancelled and has cleared up."""
    call = HeldCall(island)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(island.run, call)
        await call.begun.wait()
        assert not call.ended
        nursery.cancel_scope.cancel()
    assert call.ended


async def test_a_call_that_finished_in_spite_of_cancelling_returns(island: Island) -> None:
    """A result is never thrown away: what was done (a commit) happened, and the caller is told."""
    call = HeldCall(island)
    call.swallows_cancel = True
    results: list[str] = []

    async def caller() -> None:
        results.append(await island.run(call))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller)
        await call.begun.wait()
        nursery.cancel_scope.cancel()
    assert results == ["finished all the same"]


async def test_calls_cancelled_at_any_moment_end(island: Island) -> None:
    """However far a call has come when it is cancelled, it ends, and the calls beside it are not disturbed."""

    async def call_and_cancel() -> None:
        with trio.move_on_after(0):
            await island.run(asyncio.sleep, 3600)

    async def caller() -> None:
        assert await island.run(asyncio.sleep, 0, 1) == 1

    async with trio.open_nursery() as nursery:
        for _ in range(1_000):
            nursery.start_soon(call_and_cancel)
            nursery.start_soon(caller)


async def test_a_cancellation_nobody_asked_for_is_an_error(island: Island) -> None:
    """The CancelledError of asyncio CancelledError, which Trio would not understand, never comes across."""

    async def cancel_itself() -> None:
        raise asyncio.CancelledError

    with pytest.raises(IslandClosed, match="nobody in Trio asked"):
        await island.run(cancel_itself)


async def test_a_cancelled_query_is_cancelled_in_the_server(island: Island, bare_database_url: str) -> None:
    """Cancelling a call that waits for Postgres ends the query there, and leaves its connection fit for use."""
    async with open_pool(island, bare_database_url) as pool:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(island.run, pool.execute, "SELECT pg_sleep(3600)")
            while not await island.run(pool.fetchval, SLEEPERS):
                await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert await island.run(pool.fetchval, SLEEPERS) == 0
        both = [await island.run(pool.fetchval, "SELECT 1") for _ in range(2)]
    assert both == [1, 1]


SLEEPERS = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"


@contextlib.asynccontextmanager
async def open_pool(island: Island, url: str) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    """A pool of two connections on the island."""

    async def create() -> "asyncpg.Pool[asyncpg.Record]":
        return await asyncpg.create_pool(url, min_size=2, max_size=2)

    pool = await island.run(create)
    try:
        yield pool
    finally:
        with trio.CancelScope(shield=True):
            await island.run(pool.close)


async def test_pushed_functions_run_in_trio_in_order(island: Island) -> None:
    """What the asyncio side pushes runs in Trio's thread, in the order of pushing."""
    heard: list[tuple[int, int]] = []
    done = trio.Event()

    def hear(number: int) -> None:
        heard.append((number, threading.get_ident()))

    async def push() -> None:
        for number in range(100):
            island.push(hear, number)
        island.push(done.set)

    await island.run(push)
    await done.wait()
    assert heard == [(number, threading.get_ident()) for number in range(100)]
