"""The page of the table is the table."""

import pytest

from tests.conformance.case import Case
from tests.conformance.documentation import PAGE, main, render_page
from tests.conformance.table import SECTIONS


def test_the_page_shows_the_table() -> None:
    """What docs/conformance.md says is what is played; `python -m tests.conformance.documentation` writes it again."""
    assert PAGE.read_text(encoding="utf-8") == render_page()
    assert main(["--check"]) == 0


@pytest.mark.parametrize("section", SECTIONS)
def test_no_two_cases_have_one_name(section: str) -> None:
    """A case that fails is found by its name."""
    names = [case.name for case in SECTIONS[section]]
    assert len(set(names)) == len(names)


def test_every_case_says_where_it_comes_from() -> None:
    """Each names a section of an RFC, and what it expects."""
    cases: list[Case] = [case for cases in SECTIONS.values() for case in cases]
    assert all(case.section and case.expected() for case in cases)
