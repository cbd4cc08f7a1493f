"""Ctrl-C, step by step: first the run ends in good order, then it is torn down, then the process is gone.

Refuses to lose what was measured to the first one.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import gevent

_AT_ONCE: Final = 3
GONE: Final = 130


class Interruption:
    """Counts, and knows what to do. `gently` returns whether there was something to end in good order."""

    def __init__(self, gently: Callable[[], bool]) -> None:
        self._gently = gently
        self._count = 0
        self._main = gevent.getcurrent()

    def on_signal(self) -> None:
        """One more."""
        self._count += 1
        if self._count >= _AT_ONCE:
            os._exit(GONE)  # processes of ours notice that we are gone
        if self._count > 1 or not self._gently():
            gevent.kill(self._main, KeyboardInterrupt)


@contextmanager
def heed_interruption(gently: Callable[[], bool]) -> Iterator[None]:
    """Heed SIGINT and SIGTERM while a block lasts. What does not end gently ends with KeyboardInterrupt."""
    interruption = Interruption(gently)
    heeded = [gevent.signal_handler(number, interruption.on_signal) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for each in heeded:
            each.cancel()
