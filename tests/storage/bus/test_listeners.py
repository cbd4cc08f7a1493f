"""What the way from a bus to its listeners promises when they are slow or wrong."""

from itertools import pairwise

import trio
from trio.testing import wait_all_tasks_blocked

from storage.bus.listeners import BATCH, ListenerQueue
from storage.island import Island
from tests.storage.bus.contract import RecordingListener


async def test_what_does_not_fit_becomes_a_resync(island: Island) -> None:
    """When more waits than the limit, the surplus is forgotten and the listener told; what comes later is heard."""
    queue, listener = ListenerQueue(island, trio.CancelScope(), limit=5), RecordingListener()
    with queue.listen(listener.receive, listener.resync):
        for number in range(8):
            queue.put(str(number))
        await listener.wait_heard("0", "1", "2", "3", "4")
        assert listener.resyncs == 1
        queue.put("later")
        await listener.wait_heard("0", "1", "2", "3", "4", "later")
        assert listener.resyncs == 1


async def test_losses_at_once_are_one_resync(island: Island) -> None:
    """A listener that has not been told yet is told once."""
    queue, listener = ListenerQueue(island, trio.CancelScope()), RecordingListener()
    with queue.listen(listener.receive, listener.resync):
        queue.lose()
        queue.lose()
        queue.put("after")
        await listener.wait_heard("after")
    assert listener.resyncs == 1


async def test_a_flood_lets_others_have_their_turn(island: Island) -> None:
    """Between two batches every task that is ready runs; in one pass, before or after the batch."""
    queue, listener = ListenerQueue(island, trio.CancelScope()), RecordingListener()
    seen: list[int] = []
    with queue.listen(listener.receive, listener.resync):
        for number in range(10 * BATCH):
            queue.put(str(number))
        while len(listener.heard) < 10 * BATCH:
            await trio.lowlevel.checkpoint()
            seen.append(len(listener.heard))
    assert max(after - before for before, after in pairwise([0, *seen])) <= 2 * BATCH


async def test_a_fault_cancels_and_is_kept(island: Island) -> None:
    """The first exception of a listener, whichever function raised it, is kept and cancels the bus's scope."""
    first, second = LookupError("first"), LookupError("second")

    def fail_to_receive(_payload: str) -> None:
        raise first

    def fail_to_resync() -> None:
        raise second

    with trio.CancelScope() as scope:
        queue = ListenerQueue(island, scope)
        with queue.listen(fail_to_receive, fail_to_resync):
            queue.put("ding")
            with trio.CancelScope(shield=True):
                await wait_all_tasks_blocked()
                queue.lose()
                await wait_all_tasks_blocked()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert queue.fault is first


async def test_a_listener_may_end_the_block_of_another(island: Island) -> None:
    """Whoever's block ended while a payload was handed round does not get it."""
    queue, listener = ListenerQueue(island, trio.CancelScope()), RecordingListener()
    other = queue.listen(listener.receive, listener.resync)
    done = trio.Event()

    def end_the_other(_payload: str) -> None:
        other.__exit__(None, None, None)
        done.set()

    with queue.listen(end_the_other, lambda: None):
        other.__enter__()
        queue.put("ding")
        await done.wait()
        await wait_all_tasks_blocked()
    assert listener.heard == []
