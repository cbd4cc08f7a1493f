"""How rooms are dealt to seats."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.crowd.crowd import deal_rooms
from loadtest.scenarios.plan import GROUPS, PAIRS, Sizes

sizes = st.lists(st.tuples(st.integers(2, 100), st.floats(0.1, 10)), min_size=1).map(lambda some: Sizes(tuple(some)))


@given(sizes=sizes, seats=st.integers(1, 500), number=st.integers())
def test_everybody_is_in_one_room_beside_its_neighbours(sizes: Sizes, seats: int, number: int) -> None:
    """Rooms follow each other without a hole, nobody is alone, and at most one seat is added for that."""
    rooms = deal_rooms(sizes, seats, number)
    assert [seat for room in rooms for seat in room] == list(range(rooms[-1].stop))
    assert seats <= rooms[-1].stop <= seats + 1
    assert min(map(len, rooms)) >= 2
    assert max(map(len, rooms)) <= max(value for value, _ in sizes.weighted)


@given(seats=st.integers(2, 500))
def test_a_size_beyond_the_seats_is_one_room_of_everybody(seats: int) -> None:
    """That is how a plan asks for a channel."""
    assert deal_rooms(Sizes(((1_000_000, 1.0),)), seats, 1) == [range(seats)]


def test_pairs_are_pairs() -> None:
    """Seven people are four pairs, one of them with somebody who was not asked for."""
    assert deal_rooms(PAIRS, 7, 1) == [range(2), range(2, 4), range(4, 6), range(6, 8)]


def test_the_same_number_deals_the_same_rooms() -> None:
    """Two runs with one number differ in nothing but ids; with another number the rooms are others."""
    dealt = [deal_rooms(GROUPS, 1_000, number) for number in (1, 1, 2)]
    assert dealt[0] == dealt[1]
    assert dealt[0] != dealt[2]


def test_nobody_talks_to_themselves() -> None:
    """A room of one is refused."""
    with pytest.raises(ValueError, match="two members"):
        deal_rooms(Sizes(((1, 1.0),)), 5, 1)
