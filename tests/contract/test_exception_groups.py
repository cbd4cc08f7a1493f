"""One exception out of groups: nothing is hidden, and a cause that was named stays."""

import pytest

from varde_contract.exception_groups import first_cause, locate, single_cause, ungrouped

ONE, OTHER = KeyError("one"), ValueError("other")
NESTED = ExceptionGroup("outer", [ExceptionGroup("inner", [ONE])])
BOTH = ExceptionGroup("both", [ONE, OTHER])


def test_a_single_exception_comes_out_of_every_group() -> None:
    """However deep it is; a group of several stays whole, and a log line takes its first."""
    assert single_cause(NESTED) is ONE
    assert single_cause(ExceptionGroup("outer", [BOTH])) is BOTH
    assert first_cause(BOTH) is ONE


def test_a_block_raises_what_happened_in_it() -> None:
    """With the cause that it was raised from, and without one where there was none."""
    error = KeyError("raised")
    error.__cause__ = OTHER
    for group in (ExceptionGroup("outer", [error]), NESTED):
        with pytest.raises(KeyError) as caught, ungrouped():
            raise group
        assert caught.value.__cause__ is (OTHER if caught.value is error else None)
    with pytest.raises(ExceptionGroup) as several, ungrouped():
        raise BOTH
    assert several.value is BOTH


def test_a_place_is_named_without_the_text() -> None:
    """Type, file, line and function; an exception that was never raised has no place."""
    with pytest.raises(ValueError, match="secret") as caught:
        _fail()
    said = locate(ExceptionGroup("", [caught.value]))
    assert said.startswith("ValueError at test_exception_groups.py:")
    assert said.endswith(" in _fail")
    assert locate(OTHER) == "ValueError"


def _fail() -> None:
    raise ValueError("secret")
