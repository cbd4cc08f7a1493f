"""Who plays which seat, and in which manner: the same answer in every worker, without a word between them."""

from collections.abc import Sequence
from typing import Final

from loadtest.crowd.crowd import Room, Seat
from loadtest.scenarios.plan import Behaviour

_GRAIN: Final = 1_000_000
_STRIDE: Final = 754_877
"""Prime to the grain: neighbours get places far apart, and any run of seats has about the shares of the whole."""


def deal_seats(rooms: Sequence[Room], seats: Sequence[Seat], used: int, *, worker: int, workers: int) -> list[int]:
    """Return a worker's seats, of the first `used` ones, in the order in which they are to be taken.

    Whole rooms in turn, each to whoever has least so far; what would be more than its share goes on to the next.
    """
    dealt: list[list[int]] = [[] for _ in range(workers)]
    # As Locust deals users to workers: to the first ones one more where it does not come out even.
    shares = [used // workers + (number < used % workers) for number in range(workers)]
    taken = set[int]()
    for members in (*(room.members for room in rooms), range(used)):
        waiting = [seat for seat in members if seat < used and seat not in taken]
        taken.update(waiting)
        while waiting:
            least = max(range(workers), key=lambda number: shares[number] - len(dealt[number]))
            space = shares[least] - len(dealt[least])
            dealt[least] += waiting[:space]
            waiting = waiting[space:]
    assert len(taken) <= len(seats), "a room names a seat that is not there"
    return dealt[worker]


def behaviour_of(seat: int, behaviours: Sequence[tuple[Behaviour, float]]) -> Behaviour:
    """Return how the user in a seat behaves; the shares are those of the plan."""
    place, upto = seat * _STRIDE % _GRAIN / _GRAIN, 0.0
    for behaviour, share in behaviours:
        upto += share
        if place < upto:
            return behaviour
    return behaviours[-1][0]
