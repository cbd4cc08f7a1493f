"""One process that runs the same way each time: virtual time, a seeded scheduler, and seeded chance.

Two seeds differ in the order in which Trio runs tasks that are ready at the same time. What stays outside: the keys and
nonces that `cryptography` and `vodozemac` draw by themselves. They are bytes that nothing is ordered by.
"""

import gc
import math
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from heapq import heappop, heappush
from types import SimpleNamespace
from typing import Any, Final, TypeVar

import trio
from trio._core import _run as scheduler  # the only way to repeat the order of tasks: trio#2675 asks for a public one

import varde.clock

START_MS: Final = 1_767_312_000_000
"""2026-01-02T00:00:00Z: what every wall clock shows at virtual second 0 of a simulation."""
SETTING_UP_MS: Final = 2_400_000
"""How much earlier the people of all simulations enrolled: after twenty minutes their access tokens end."""

PATIENCE: Final = 10
"""Real seconds in which nothing at all was to be done until that is taken for a deadlock."""

T = TypeVar("T")

_began_ms = START_MS


def now_ms() -> int:
    """Return the wall clock of everybody: milliseconds since the Unix epoch."""
    return _began_ms + round(trio.current_time() * 1_000)


@contextmanager
def replaced(where: Any, name: str, value: Any) -> Iterator[None]:
    """Put something else in the place of a name that must be there, until the block ends."""
    before = getattr(where, name)  # raises when the product renamed it: nothing is to be patched in vain
    setattr(where, name, value)
    try:
        yield
    finally:
        setattr(where, name, before)


class VirtualClock(trio.abc.Clock):
    """Time that stands while anybody can run, and then jumps to the next deadline, or to the next call.

    `trio.testing.MockClock` goes round Trio's loop twice for each jump. A simulation is little else than jumps.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._calls: list[tuple[float, int, list[Callable[[], object]]]] = []
        self._count = 0
        self._still = 0
        self.jumps = 0
        """How often time went on: what an hour costs besides what happens in it."""

    def start_clock(self) -> None:
        """Nothing: time begins at zero."""

    def current_time(self) -> float:
        """Virtual seconds since the beginning."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Jump: Trio asks this only when no task can run. Raises Deadlock when nothing will ever happen."""
        calls = self._calls
        while calls and not calls[0][2]:  # taken back
            heappop(calls)
        moment = min(deadline, calls[0][0] if calls else math.inf)
        if moment == math.inf:
            # Trio's own entry queue wakes it through a socket when a run ends. Otherwise every task waits for another.
            self._still += 1
            if self._still > PATIENCE:
                raise Deadlock
            return 1.0
        self._now = max(self._now, moment)
        self.jumps += 1
        while calls and calls[0][0] <= self._now:
            for call in heappop(calls)[2]:
                call()
        return 0.0

    def call_at(self, when: float, call: Callable[[], object]) -> Callable[[], None]:
        """Call a plain function at a virtual time. Returns what takes that back."""
        self._count += 1
        cell = [call]
        heappush(self._calls, (when, self._count, cell))
        return cell.clear


class Deadlock(Exception):
    """Every task waits for another one."""


def current_clock() -> VirtualClock:
    """Return the clock of this run."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, VirtualClock)
    return clock


def call_at(when: float, call: Callable[[], object]) -> Callable[[], None]:
    """Call a plain function at a virtual time. Returns what takes that back."""
    return current_clock().call_at(when, call)


async def _sleep_until(deadline: float) -> None:
    """As `trio.sleep_until`, without a cancel scope and an exception for each: half of what a quiet hour costs."""
    if deadline <= trio.current_time():
        await trio.lowlevel.checkpoint()
        return
    take_back = call_at(deadline, partial(trio.lowlevel.reschedule, trio.lowlevel.current_task()))

    def abort(_: object) -> trio.lowlevel.Abort:
        take_back()
        return trio.lowlevel.Abort.SUCCEEDED

    await trio.lowlevel.wait_task_rescheduled(abort)


async def _sleep(seconds: float) -> None:
    await trio.sleep_until(trio.current_time() + seconds)


@contextmanager
def _garbage_kept() -> Iterator[None]:
    """Collect garbage at the end: a fifth of the time went into looking for it, at moments that are not the seed's."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def run(seed: int, main: Callable[[], Awaitable[T]], *, began_ms: int = START_MS) -> T:
    """Run a function under virtual time and a seeded scheduler. Waiting costs nothing."""
    chance = random.Random(seed)
    state = random.getstate()
    with ExitStack() as stack:
        stack.callback(random.setstate, state)
        stack.enter_context(replaced(sys.modules[__name__], "_began_ms", began_ms))
        random.seed(seed)  # the SDK's jitter
        stack.enter_context(replaced(os, "urandom", chance.randbytes))
        stack.enter_context(replaced(varde.clock, "time", SimpleNamespace(time_ns=lambda: now_ms() * 1_000_000)))
        # Batches of ready tasks are sorted by their number, then shuffled by `_r`.
        stack.enter_context(replaced(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", True))
        scheduler._r.seed(seed)  # noqa: SLF001 - as above
        stack.enter_context(replaced(trio, "sleep", _sleep))
        stack.enter_context(replaced(trio, "sleep_until", _sleep_until))
        stack.enter_context(_garbage_kept())
        return trio.run(main, clock=VirtualClock())


class Stopwatch:
    """CPU seconds of this process since it was made."""

    def __init__(self) -> None:
        self._began = time.process_time()

    @property
    def seconds(self) -> float:
        """So far."""
        return time.process_time() - self._began


def at(seconds: float) -> str:
    """A virtual time as people read it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%M:%S.%f")[:-3]
