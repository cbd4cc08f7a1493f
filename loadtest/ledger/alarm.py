"""A timer of the kernel that a greenlet can wait for to the microsecond (timerfd_create(2)).

The event loop counts in milliseconds and rounds up: every send would be a millisecond late, and every latency longer.
"""

import ctypes
import os
import time
from collections.abc import Callable
from typing import Final

import gevent

_READ: Final = 1
_SECOND_NS: Final = 1_000_000_000
_libc: Final = ctypes.CDLL(None, use_errno=True)


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Time), ("value", _Time))


class Alarm:
    """Calls `ring`, which must not wait, once after each `set`. Linux only, as epoll. Raises OSError without one."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._timer: int = _libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._timer < 0:
            raise OSError(ctypes.get_errno(), "no timer can be made")
        self._watcher = gevent.get_hub().loop.io(self._timer, _READ)
        self._watcher.start(self._rang)

    def set(self, after_ns: int) -> None:
        """Ring once after so many nanoseconds, at least one; what was set before is forgotten."""
        seconds, nanoseconds = divmod(max(1, after_ns), _SECOND_NS)
        setting = _Setting(_Time(0, 0), _Time(seconds, nanoseconds))
        if _libc.timerfd_settime(self._timer, 0, ctypes.byref(setting), None) < 0:
            raise OSError(ctypes.get_errno(), "the timer cannot be set")

    def close(self) -> None:
        """Ring no more."""
        self._watcher.stop()
        self._watcher.close()
        os.close(self._timer)

    def _rang(self) -> None:
        try:
            os.read(self._timer, 8)  # how often it went off, which has to be taken away
        except BlockingIOError:
            return  # it was set anew meanwhile
        self._ring()
