"""One process that runs the same way each time: virtual time, a seeded scheduler, and seeded chance.

Two seeds differ in the order in which Trio runs tasks that are ready at the same time. What stays outside: the keys and
nonces that `cryptography` and `vodozemac` draw by themselves. They are bytes that nothing is ordered by.
"""

import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Final, TypeVar

import trio
from trio._core import _run as scheduler  # the only way to repeat the order of tasks: trio#2675 asks for a public one
from trio.testing import MockClock

import varde.clock

START_MS: Final = 1_767_312_000_000
"""2026-01-02T00:00:00Z: what every wall clock shows at virtual second 0 of a simulation."""
SETTING_UP_MS: Final = 600_000
"""How much earlier the people of all simulations enrolled."""

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
        return trio.run(main, clock=MockClock(autojump_threshold=0))


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
