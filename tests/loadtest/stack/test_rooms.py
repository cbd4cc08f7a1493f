"""Server and generator read the same plan, and mean the same ids by the same numbers."""

import pytest

from loadtest.stack.rooms import Plan, account_of, conversation_of, device_of, number_of, profile_of


def test_every_member_is_in_one_room() -> None:
    """Rooms are numbered through all sizes, and each holds exactly the members that say they are in it."""
    plan = Plan("2x3,1x4")
    assert [tuple(plan.members_of(room)) for room in range(3)] == [(0, 1, 2), (3, 4, 5), (6, 7, 8, 9)]
    assert [plan.room_of(member) for member in range(plan.members)] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert not plan.members_of(3)


def test_members_are_found_by_the_size_of_their_rooms() -> None:
    """Each size knows everybody who is in a room of it."""
    assert Plan("2x3,1x4").blocks == {3: range(6), 4: range(6, 10)}


@pytest.mark.parametrize("text", ["", "3", "ax2", "1x"])
def test_what_is_no_plan_is_refused(text: str) -> None:
    """A text of another form is a ValueError."""
    with pytest.raises(ValueError):  # noqa: PT011 - int and unpacking say it in their words
        Plan(text)


def test_ids_lead_back_to_their_numbers() -> None:
    """Each kind of id is made from its number alone, no two kinds are the same, and the number is found in it."""
    made = [make(70_000) for make in (account_of, device_of, profile_of, conversation_of)]
    assert len(set(made)) == 4
    assert [number_of(each) for each in made] == [70_000] * 4
