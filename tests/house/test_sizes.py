"""Small files, small functions: numbers per room. Refuses exceptions that nobody has explained."""

import ast
import statistics
from typing import Final

import pytest

from tests.house import tree

FILE_LINES: Final = 300
MEDIAN_LINES: Final = 8
TENTH_LONGEST_LINES: Final = 30
CONFTEST_LINES: Final = 100

LONG_FILES: Final[dict[str, str]] = {}
"""Files that may be longer, each with its reason. Empty is how it should be."""


def length(function: tree.Function) -> int:
    """The lines of a function from its `def` to its end, without its docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    said = ast.get_docstring(function, clean=False) is not None
    return lines - ((first.end_lineno or first.lineno) - first.lineno + 1 if said else 0)


def test_no_file_is_too_long() -> None:
    """One noun fits into 300 lines of code."""
    sizes = {each.name: tree.code_lines(each) for each in tree.sources(*tree.ROOMS)}
    longer = [f"{name}: {lines}" for name, lines in sizes.items() if lines > FILE_LINES and name not in LONG_FILES]
    tree.expect_none(longer, f"files with more than {FILE_LINES} lines of code; each holds more than one noun")


def test_every_exception_is_needed_and_explained() -> None:
    """An exception goes when its file has become short, and says in words why it is there."""
    for name, reason in LONG_FILES.items():
        assert tree.code_lines(tree.Source(name, tree.ROOT / name)) > FILE_LINES, f"{name} needs no exception"
        assert len(reason.split()) > 3


@pytest.mark.parametrize("room", tree.ROOMS)
def test_functions_are_short(room: str) -> None:
    """In every room the median function has 8 lines at most, and nine of ten have 30 at most."""
    lengths = [length(function) for source in tree.sources(room) for function in tree.functions(source)]
    if len(lengths) < 2:
        pytest.skip(f"nobody lives in {room} yet")
    assert statistics.median(lengths) <= MEDIAN_LINES
    assert statistics.quantiles(lengths, n=10, method="inclusive")[-1] <= TENTH_LONGEST_LINES


def test_every_conftest_is_short() -> None:
    """What tests may ask for by name stays easy to survey."""
    found = {each.name: len(each.lines) for each in tree.sources("tests") if each.path.name == "conftest.py"}
    longer = [f"{name}: {lines}" for name, lines in found.items() if lines >= CONFTEST_LINES]
    tree.expect_none(longer, f"files with {CONFTEST_LINES} lines or more; move what is not a fixture out")
