"""Tables in Markdown, and figures as a person reads them."""

import math
from collections.abc import Iterable, Sequence

NOTHING = "-"
"""Where nothing was measured."""


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; the first column is text, the others are figures. Empty without a row."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return ""
    rule = "|".join(("---", *("--:" for _ in headings[1:])))
    return "\n".join((f"| {' | '.join(headings)} |", f"|{rule}|", *lines, ""))


def figure(value: object, digits: int = 3) -> str:
    """Return a figure with so many digits, thousands apart; a dash where there is none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return NOTHING
    exact = float(f"{value:.{digits}g}")
    if not exact or (isinstance(value, int) and abs(exact) < 10**digits):
        return f"{exact:,.0f}"
    return f"{exact:,.{max(0, digits - 1 - math.floor(math.log10(abs(exact))))}f}"


def times(value: float | None) -> str:
    """Return a ratio."""
    return NOTHING if value is None else f"{value:.2f}x"


def marked(text: str, *, bold: bool) -> str:
    """Return a cell that stands out or not."""
    return f"**{text}**" if bold and text != NOTHING else text
