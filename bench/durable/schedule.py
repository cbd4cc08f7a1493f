"""When which connection should send: an open model, drawn before the run.

Arrivals of many independent people: exponential gaps (Poisson), every connection in turn in a shuffled order. The same
seed for every server, so all are asked the same.
"""

import random
from collections.abc import Iterator
from typing import Final, NamedTuple

_SEED: Final = 7_395
_NANOSECONDS: Final = 1_000_000_000


class Due(NamedTuple):
    """One message: when it should be sent, in nanoseconds from the start, and by which connection."""

    at_ns: int
    sender: int


def draw_schedule(rate: float, seconds: float, connections: int, *, seed: int = _SEED) -> Iterator[Due]:
    """Draw the messages of `seconds` at `rate` a second, in the order of their times."""
    dice = random.Random(seed)  # noqa: S311 - it spreads load
    order = dice.sample(range(connections), connections)
    at, place = 0.0, 0
    while (at := at + dice.expovariate(rate)) < seconds:
        yield Due(int(at * _NANOSECONDS), order[place])
        place = (place + 1) % connections
