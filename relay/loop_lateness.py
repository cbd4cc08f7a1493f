"""How late the loop is: one task sleeps until a known time and measures when it wakes."""

import logging
from typing import Final, NoReturn

import trio

from relay.services import Services

TICK: Final = 0.1
"""Seconds between two measurements. Whatever blocks the loop for longer is seen, and shorter blocks often enough."""
FADING: Final = 0.5
"""How much of a lateness still counts for admission a second later."""
LOGGED_FROM: Final = 1.0
"""Seconds of lateness from which on it is logged."""

_FADING_PER_TICK: Final = FADING**TICK
_log: Final = logging.getLogger("varde.relay")


async def run_loop_lateness(services: Services) -> NoReturn:
    """Measure for as long as the node lives."""
    while True:
        planned = trio.current_time() + TICK
        await trio.sleep_until(planned)
        _note(services, trio.current_time() - planned)


def _note(services: Services, lateness: float) -> None:
    services.metrics.lateness.observe(lateness)
    admission = services.admission
    admission.lateness = max(lateness, admission.lateness * _FADING_PER_TICK)
    if lateness > LOGGED_FROM:
        _log.warning("the loop was %.1f s late", lateness)
