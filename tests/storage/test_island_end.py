"""How an asyncio island ends, by closing or by dying, and what becomes of those who are there."""

import asyncio
import threading

import pytest
import trio
import uvloop
from trio.testing import wait_all_tasks_blocked

from storage.island import Island, IslandClosed, open_island
from tests.storage.held_call import HeldCall


async def test_closing_with_calls_in_flight_wakes_every_caller() -> None:
    """Callers who are still there when the island closes get IslandClosed, and their tasks have ended by then."""
    woken: list[str] = []

    async def run_held(island: Island, call: HeldCall) -> None:
        with pytest.raises(IslandClosed, match="was closed"):
            await island.run(call)
        assert call.ended
        woken.append("woken")

    async with trio.open_nursery() as nursery, open_island() as island:
        calls = [HeldCall(island) for _ in range(100)]
        for call in calls:
            nursery.start_soon(run_held, island, call)
        for call in calls:
            await call.begun.wait()
    assert woken == ["woken"] * 100


async def test_a_closed_island_refuses_calls() -> None:
    """After its block has ended, an island says so instead of waiting for ever."""
    async with open_island() as island:
        pass
    with pytest.raises(IslandClosed, match="was closed"):
        await island.run(asyncio.sleep, 0)


async def test_closing_says_when_calls_ignore_their_cancellation() -> None:
    """An asyncio side that cannot be stopped is left behind after the grace, with an error to all, not waited for."""
    let_go, begun, ended = threading.Event(), trio.Event(), trio.Event()
    island = Island(uvloop.new_event_loop(), trio.lowlevel.current_trio_token())

    async def block() -> None:
        island.push(begun.set)
        let_go.wait()
        island.push(ended.set)

    async def caller() -> None:
        with pytest.raises(IslandClosed, match="was closed"):
            await island.run(block)

    threading.Thread(target=island._live).start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller)
        await begun.wait()
        with pytest.raises(IslandClosed, match="1 calls ignore"):
            await island._aclose(grace=0)
    let_go.set()
    await ended.wait()
    await island._ended.wait()


async def test_the_death_of_the_island_reaches_everybody() -> None:
    """When the asyncio thread dies, those who wait and those who come later get IslandClosed with the reason."""
    died: list[BaseException | None] = []

    async def run_held(island: Island, call: HeldCall) -> None:
        with pytest.raises(IslandClosed, match="died") as caught:
            await island.run(call)
        died.append(caught.value.__cause__)

    async def stop_the_loop() -> None:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(3600)  # longer than the test may take: only cancelling ends it

    async with open_island() as island, trio.open_nursery() as nursery:
        call = HeldCall(island)
        nursery.start_soon(run_held, island, call)
        await call.begun.wait()
        with pytest.raises(IslandClosed, match="died"):
            await island.run(stop_the_loop)
        with pytest.raises(IslandClosed, match="died"):
            await island.run(asyncio.sleep, 0)
    assert len(died) == 1
    assert isinstance(died[0], RuntimeError)


class Deathbed(Island):
    """An island whose loop has stopped already, but which does not know that it is dead before it is told."""

    def __init__(self) -> None:
        super().__init__(uvloop.new_event_loop(), trio.lowlevel.current_trio_token())
        self.stopped = trio.Event()
        self.go = threading.Event()

    def _close(self, why: str, cause: BaseException | None = None) -> None:
        self.push(self.stopped.set)
        self.go.wait()
        super()._close(why, cause)


async def test_a_call_that_comes_too_late_for_a_dying_island_is_not_begun() -> None:
    """What waits to be taken over when the island dies never runs: nobody would be there to clear up behind it."""
    island = Deathbed()
    call = HeldCall(island)

    async def caller() -> None:
        with pytest.raises(IslandClosed, match="died"):
            await island.run(call)

    async def stop_the_loop() -> None:
        asyncio.get_running_loop().stop()

    threading.Thread(target=island._live).start()
    async with trio.open_nursery() as nursery:
        await island.run(stop_the_loop)
        await island.stopped.wait()
        nursery.start_soon(caller)
        await wait_all_tasks_blocked()
        island.go.set()
    await island._ended.wait()
    assert not call.begun.is_set()


async def test_closing_leaves_no_task_behind() -> None:
    """What a cancelled call starts in order to clear up has ended as well when the island is closed."""
    tasks: list[asyncio.Task[None]] = []
    begun = trio.Event()

    async def stay_and_leave_a_task(island: Island) -> None:
        island.push(begun.set)
        try:
            await asyncio.sleep(3600)  # longer than the test may take: only cancelling ends it
        finally:
            tasks.append(asyncio.create_task(asyncio.sleep(3600)))  # longer than the test may take

    async def run_held(island: Island) -> None:
        with pytest.raises(IslandClosed):
            await island.run(stay_and_leave_a_task, island)

    async with trio.open_nursery() as nursery, open_island() as island:
        nursery.start_soon(run_held, island)
        await begun.wait()
    assert [task.done() for task in tasks] == [True]


async def test_a_system_exit_on_the_asyncio_side_is_not_swallowed() -> None:
    """SystemExit kills the island, as it would kill asyncio, and comes back to the one who called."""

    async def leave() -> None:
        raise SystemExit(3)

    async with open_island() as island:
        with pytest.raises(SystemExit):
            await island.run(leave)
        with pytest.raises(IslandClosed, match="died"):
            await island.run(asyncio.sleep, 0)
