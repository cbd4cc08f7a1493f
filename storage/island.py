"""The asyncio island: one uvloop loop in one thread, for the libraries that need asyncio.

It only carries calls across. Nothing else in the repository may run asyncio.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar, TypeVarTuple

import outcome
import trio
import uvloop

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
RaiseCancel = Callable[[], Any]

SECONDS: Final = 1.0


class IslandClosed(Exception):
    """The asyncio side is gone, or went while the call was there; its cause, if any, is chained."""


class _Call:
    """One call on its way over, there, or on its way back."""

    __slots__ = ("begin", "outcome", "raise_cancel", "task", "waiter")

    def __init__(self, begin: Callable[[], Coroutine[Any, Any, Any]], waiter: trio.lowlevel.Task) -> None:
        self.begin = begin
        self.waiter = waiter
        self.task: asyncio.Task[Any] | None = None
        self.outcome: outcome.Outcome[Any] | None = None
        self.raise_cancel: RaiseCancel | None = None

    def cancel(self) -> None:
        """On the asyncio side: a call that was never taken up needs none, the island's end wakes its waiter."""
        if self.task is not None:
            self.task.cancel()


class Island:
    """Carries calls from the Trio thread to the asyncio thread, and their outcomes back.

    Both ways are queues that ring once for all that waits in them: under load, one wake-up carries many calls.
    Each queue's flag is lowered before the queue is drained and looked at after the queue is filled, so with
    atomic deque operations the worst a race can do is ring for an empty queue.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, token: trio.lowlevel.TrioToken) -> None:
        self._loop = loop
        self._token = token
        self._leave = asyncio.Event()
        self._ended = trio.Event()
        self._calls: set[_Call] = set()  # changed by the Trio thread only
        self._outbound: deque[_Call] = deque()
        self._outbound_rung = False
        self._inbound: deque[_Call] = deque()
        self._inbound_rung = False
        self._closed: str | None = None
        self._cause: BaseException | None = None

    @trio.lowlevel.enable_ki_protection  # a Ctrl-C between bookkeeping and sleep would wake a task that does not wait
    async def run(self, fn: Callable[[*Ts], Coroutine[Any, Any, T]], *args: *Ts) -> T:
        """Run `fn(*args)` on the asyncio side; return what it returns, raise what it raises. A checkpoint.

        When the Trio side is cancelled the asyncio task is cancelled too, and its end is awaited: no connection is
        left in use. A task that finished in spite of that returns its value, because what it did (a commit) happened.
        The wait has no deadline of its own; the caller's scope and the statement's timeout are the deadlines.

        Raises:
            IslandClosed: the island is closed or dead, or asyncio cancelled the call without being asked from here.
        """
        # Not a whole checkpoint: the sleep below is one, and every statement would pay for another turn of the loop.
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed is not None:
            raise self._gone()
        call = _Call(partial(fn, *args), trio.lowlevel.current_task())
        self._calls.add(call)
        self._send(call)

        def abort(raise_cancel: RaiseCancel) -> trio.lowlevel.Abort:
            call.raise_cancel = raise_cancel
            self.call_soon(call.cancel)
            # FAILED keeps the caller asleep until asyncio has said how it ended. Had it gone on at once, its statement
            # would still be running on a connection that it takes for free, and a commit could happen behind its back.
            return trio.lowlevel.Abort.FAILED

        result: T = await trio.lowlevel.wait_task_rescheduled(abort)
        return result

    def push(self, fn: Callable[[*Ts], object], *args: *Ts) -> None:
        """From the asyncio side: run the plain function `fn(*args)` soon in the Trio thread, in order of pushing.

        `fn` must not raise: Trio has no task to raise it in, and ends the program. Without a Trio left, it is dropped.
        """
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(fn, *args)

    def _send(self, call: _Call) -> None:
        self._outbound.append(call)
        if not self._outbound_rung:
            self._outbound_rung = True
            self.call_soon(self._take)

    def call_soon(self, fn: Callable[[], object]) -> None:
        """Run a plain function soon on the asyncio side, in order of calling; dropped when that side is gone."""
        # A loop that has just closed refuses; then the island's end is already on its way to wake every waiter.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(fn)

    def _take(self) -> None:
        self._outbound_rung = False
        while self._outbound:
            call = self._outbound.popleft()
            if self._closed is None:  # otherwise it would start behind the back of those who clear up
                self._begin(call)

    def _begin(self, call: _Call) -> None:
        try:
            call.task = self._loop.create_task(call.begin())
        except Exception as error:  # noqa: BLE001  whatever it is, it belongs to the one who called
            self._return(call, outcome.Error(error))
        else:
            # Not a wrapper coroutine: a task cancelled before its first step never enters its body, but calls this.
            call.task.add_done_callback(lambda task: self._return(call, outcome.capture(task.result)))

    def _return(self, call: _Call, result: outcome.Outcome[Any]) -> None:
        call.outcome = result
        self._inbound.append(call)
        if not self._inbound_rung:
            self._inbound_rung = True
            self.push(self._deliver)

    def _deliver(self) -> None:
        self._inbound_rung = False
        while self._inbound:
            self._wake(self._inbound.popleft())

    def _wake(self, call: _Call) -> None:
        if call in self._calls:  # otherwise its waiter was sent away, because the call did not end within the grace
            self._calls.remove(call)
            trio.lowlevel.reschedule(call.waiter, self._verdict(call))

    def _wake_all(self) -> None:
        for call in tuple(self._calls):
            self._wake(call)

    def _verdict(self, call: _Call) -> outcome.Outcome[Any]:
        result = call.outcome
        lost = result is None or (isinstance(result, outcome.Error) and _is_cancelled(result.error))
        if result is not None and not lost:
            return result
        # asyncio's CancelledError is only its word for our own cancellation: Trio's exception is raised in its place.
        if call.raise_cancel is not None:
            return outcome.capture(call.raise_cancel)
        return outcome.Error(self._gone())

    def _gone(self) -> IslandClosed:
        error = IslandClosed(self._closed or "asyncio cancelled this call, though nobody in Trio asked it to")
        error.__cause__ = self._cause
        return error

    def _live(self) -> None:
        """The life of the asyncio thread. Leaving the runner cancels every task left and awaits its end."""
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                self._stay(runner)
        except BaseException as error:  # noqa: BLE001  a thread has nobody above it: the waiters are told instead
            self._close("the asyncio island died", error)
        finally:
            self.push(self._end)

    def _stay(self, runner: asyncio.Runner) -> None:
        try:
            runner.run(self._wait_leave())
        except BaseException as error:  # noqa: BLE001  the same; said before the runner cancels what is left
            self._close("the asyncio island died", error)

    async def _wait_leave(self) -> None:
        await self._leave.wait()
        # Before the runner sweeps: what clears up after a cancelled call (asyncpg's cancel request) is a task as well.
        tasks = [call.task for call in tuple(self._calls) if call.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _close(self, why: str, cause: BaseException | None = None) -> None:
        if self._closed is None:
            self._cause, self._closed = cause, why  # in this order: the other thread looks at the second first

    def _end(self) -> None:
        """In Trio, after the last outcome: what is still waiting was never taken up, or its task went with the loop."""
        self._wake_all()
        self._ended.set()

    async def _aclose(self, grace: float) -> None:
        self._close("the asyncio island was closed while the call ran, or before it")
        self.call_soon(self._leave.set)
        # Shielded: a program that is cancelled still waits for statements to end, or it would leave them running.
        with trio.move_on_after(grace, shield=True):
            await self._ended.wait()
            return
        why = f"{len(self._calls)} calls ignore their cancellation, or something on it was left open"
        self._wake_all()
        raise IslandClosed(f"the asyncio island did not end within {grace:g} s: {why}")


def _is_cancelled(error: BaseException) -> bool:
    return isinstance(error, asyncio.CancelledError)


@asynccontextmanager
async def open_island(*, grace: float = 10 * SECONDS) -> AsyncIterator[Island]:
    """Start the asyncio thread; at exit refuse new calls, cancel those left, and wait (at most `grace` seconds).

    Open it before everything that calls through it: what the asyncio side holds (pools) is closed by calls, too.

    Raises:
        IslandClosed: at exit, when a call ignored its cancellation for the whole grace.
    """
    # The loop is made here and not by its thread: a call that is sent before the thread runs already has a place to
    # wait.
    island = Island(uvloop.new_event_loop(), trio.lowlevel.current_trio_token())
    # daemon: an asyncio side that cannot be stopped must not keep the process from ending.
    threading.Thread(target=island._live, name="varde-island", daemon=True).start()  # noqa: SLF001  its own factory
    try:
        yield island
    finally:
        await island._aclose(grace)  # noqa: SLF001  the same
