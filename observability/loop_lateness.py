"""How late the loop is: one task sleeps until a known time and measures when it wakes."""

import logging
from collections.abc import Callable
from typing import Final, NoReturn

import trio

TICK: Final = 0.1
"""Seconds between two measurements. Whatever blocks the loop for longer is seen, and shorter blocks often enough."""
LOGGED_FROM: Final = 1.0
"""Seconds of lateness from which on it is logged."""

_log: Final = logging.getLogger("varde.loop")


async def run_loop_lateness(note: Callable[[float], object]) -> NoReturn:
    """Measure for as long as the program lives, and call `note` with the seconds of each measurement."""
    while True:
        planned = trio.current_time() + TICK
        await trio.sleep_until(planned)
        lateness = trio.current_time() - planned
        note(lateness)
        if lateness > LOGGED_FROM:
            _log.warning("the loop was %.1f s late", lateness)
