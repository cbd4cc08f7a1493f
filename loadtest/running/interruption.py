"""Ctrl-C, step by step: the first one ends the run in good order, the second one ends the process at once."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import gevent

GONE: Final = 130
"""How a process ends by the second one; shells give it for SIGINT."""


class Interruption:
    """Counts, and knows what to do. `gently` returns whether there was something to end in good order."""

    def __init__(self, gently: Callable[[], bool], leave: Callable[[], None]) -> None:
        self._gently = gently
        self._leave = leave
        self._count = 0
        self._main = gevent.getcurrent()

    def on_signal(self) -> None:
        """One more."""
        self._count += 1
        if self._count > 1:
            try:
                self._leave()
            finally:
                os._exit(GONE)  # processes of ours notice that we are gone
        if not self._gently():
            gevent.kill(self._main, KeyboardInterrupt)


@contextmanager
def heed_interruption(gently: Callable[[], bool], leave: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Heed SIGINT and SIGTERM while a block lasts. What does not end gently ends with KeyboardInterrupt.

    `leave` is the last thing before the second one ends the process, and must not wait.
    """
    interruption = Interruption(gently, leave)
    heeded = [gevent.signal_handler(number, interruption.on_signal) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for each in heeded:
            each.cancel()
