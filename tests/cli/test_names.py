"""Nobody has to type an id: so much of its end that no other ends so is enough, and what is not clear is asked for."""

from uuid import UUID

import pytest

from varde_cli.names import pick, short
from varde_cli.run import Failure

ONE, TWO, ALIKE = (UUID(f"0192f0c1-7b3e-7c55-9d1a-{end}") for end in ("0e4b7e1d2c3f", "0e4b7e000001", "aaaaaa1d2c3f"))


@pytest.mark.parametrize("text", ["0192f0c1-7b3e-7c55-9d1a-0e4b7e000001", "000001", "…000001", "...0001", " 7E000001 "])
def test_the_end_of_an_id_names_it(text: str) -> None:
    """As it is shown, in either case, or all of it."""
    assert pick(text, [ONE, TWO, ALIKE], "conversation") == TWO


def test_what_is_shown_can_be_typed() -> None:
    """The short form of each, where their ends differ."""
    assert [pick(short(each), [TWO, ALIKE], "device") for each in (TWO, ALIKE)] == [TWO, ALIKE]


def test_an_end_of_several_is_asked_for_with_the_choices() -> None:
    """More of it tells them apart; the same one twice is one."""
    with pytest.raises(Failure, match="end of several") as refused:
        pick("1d2c3f", [ONE, TWO, ALIKE], "conversation")
    assert str(ONE) in str(refused.value)
    assert str(ALIKE) in str(refused.value)
    assert pick("7e1d2c3f", [ONE, ALIKE], "conversation") == ONE
    assert pick("1d2c3f", [ONE, ONE], "conversation") == ONE


@pytest.mark.parametrize("text", ["", "…", "001", "nobody", "-", "zzzz", "\x00", "0192f0c1", "a" * 1_000_000])
def test_what_ends_nothing_is_told(text: str) -> None:
    """Too short, from the beginning, or no id at all."""
    with pytest.raises(Failure, match="there is no device"):
        pick(text, [ONE, TWO], "device")
