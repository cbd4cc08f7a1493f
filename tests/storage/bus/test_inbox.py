"""What the way from a bus to its listeners promises when they are slow or wrong."""

from itertools import pairwise

import trio
from trio.testing import wait_all_tasks_blocked

from storage.bus.inbox import BATCH_LENGTH, Inbox, Lost
from storage.island import Island


class Recorder:
    """Records what it is handed, in order."""

    def __init__(self) -> None:
        self.handed: list[str | Lost] = []
        self._changed = trio.Event()

    def take(self, heard: str | Lost) -> None:
        """Record it."""
        self.handed.append(heard)
        self._changed.set()
        self._changed = trio.Event()

    async def wait_handed(self, *heard: str | Lost) -> None:
        """Return when exactly this was handed over."""
        with trio.fail_after(30):
            while len(self.handed) < len(heard):
                await self._changed.wait()
        assert self.handed == list(heard)


async def test_what_does_not_fit_becomes_a_resync(island: Island) -> None:
    """When more waits than the limit, the surplus is forgotten and a loss told; what comes later is heard."""
    recorder = Recorder()
    inbox = Inbox(island, trio.CancelScope(), recorder.take, recorder.take, limit=5)
    for number in range(8):
        inbox.put(str(number))
    await recorder.wait_handed(None, "0", "1", "2", "3", "4")
    inbox.put("later")
    await recorder.wait_handed(None, "0", "1", "2", "3", "4", "later")


async def test_losses_and_texts_keep_their_order(island: Island) -> None:
    """What was heard before a loss is handed over before it."""
    recorder = Recorder()
    inbox = Inbox(island, trio.CancelScope(), recorder.take, recorder.take)
    topics = frozenset({"topic"})
    inbox.put("before")
    inbox.lose(topics)
    inbox.put("after")
    inbox.lose(None)
    await recorder.wait_handed("before", topics, "after", None)


async def test_a_flood_lets_others_have_their_turn(island: Island) -> None:
    """Between two batches every task that is ready runs; in one pass, before or after the batch."""
    recorder = Recorder()
    inbox = Inbox(island, trio.CancelScope(), recorder.take, recorder.take)
    seen: list[int] = []
    for _ in range(10):
        inbox.put("x" * BATCH_LENGTH)
    while len(recorder.handed) < 10:
        await trio.lowlevel.checkpoint()
        seen.append(len(recorder.handed))
    assert max(after - before for before, after in pairwise([0, *seen])) <= 2


async def test_a_fault_cancels_and_is_kept(island: Island) -> None:
    """The first exception, whichever function raised it, is kept and cancels the bus's scope."""
    first, second = LookupError("first"), LookupError("second")

    def fail_to_receive(_: str) -> None:
        raise first

    def fail_to_resync(_: Lost) -> None:
        raise second

    with trio.CancelScope() as scope:
        inbox = Inbox(island, scope, fail_to_receive, fail_to_resync)
        inbox.put("ding")
        with trio.CancelScope(shield=True):
            await wait_all_tasks_blocked()
            inbox.lose(None)
            await wait_all_tasks_blocked()
        await trio.sleep_forever()
    assert scope.cancelled_caught
    assert inbox.fault is first
