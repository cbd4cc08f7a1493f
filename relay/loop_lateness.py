"""How late the loop is: one task that knows when it should wake, and looks at when it does."""

import logging
from typing import Final, NoReturn

import trio

from relay.services import Services

TICK: Final = 0.1
"""Seconds between two looks: whatever holds the loop for longer than that is seen, and what is shorter often enough."""
FADING: Final = 0.5
"""How much of a lateness is still held against newcomers a second later."""
WORTH_A_WORD: Final = 1.0
"""Seconds late that are logged."""

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
    if lateness > WORTH_A_WORD:
        _log.warning("the loop was %.1f s late", lateness)
