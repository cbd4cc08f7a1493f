"""How long to wait before the next try: full jitter, doubling up to a cap."""

import random

FIRST_SECONDS = 0.5
MOST_SECONDS = 30.0
"""A relay that is not authenticated yet may not send a client away for longer either: see `varde.reconnector`."""


class Backoff:
    """Pauses between tries at one thing."""

    def __init__(self, first: float = FIRST_SECONDS, most: float = MOST_SECONDS) -> None:
        self._first = first
        self._most = most
        self._tries = 0

    def next(self) -> float:
        """Return seconds to wait: anything from zero to a bound that doubles, so that a crowd comes back spread out."""
        bound = min(self._most, self._first * 2**self._tries)
        self._tries = min(self._tries + 1, 32)
        return random.uniform(0, bound)  # noqa: S311 - jitter is no secret

    def reset(self) -> None:
        """Something went well: start from the short pauses again."""
        self._tries = 0
