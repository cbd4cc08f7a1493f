"""Rooms dealt to seats: sizes drawn from a distribution until everybody has a place, neighbours in one room."""

from random import Random

from loadtest.scenarios.plan import Sizes


def deal_rooms(sizes: Sizes, seats: int, seed: int) -> list[range]:
    """Return the seats of each room, side by side, for `seats` people, or one more so that nobody is alone.

    A size of `seats` or more is one room of everybody. Raises ValueError for sizes below two.
    """
    random = Random(seed)  # noqa: S311 - sizes of rooms, no secrets
    values, weights = zip(*sizes.weighted, strict=True)
    if min(values) < 2:  # noqa: PLR2004 - a room is where two can talk
        raise ValueError("a room has two members or more")
    rooms, start = [], 0
    while start < seats:
        (drawn,) = random.choices(values, weights)
        size = min(drawn, max(2, seats - start))
        rooms.append(range(start, start + size))
        start += size
    return rooms
