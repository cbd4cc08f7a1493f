"""A comparison as text for a terminal: what is worse first, then what is better, then the rest."""

from collections.abc import Iterator, Sequence
from typing import Final

import click
import msgspec

from loadtest.report.comparison import Change, Comparison, Row
from loadtest.report.formatting import figure, unit_of

_COLOURS: Final = {Change.WORSE: "red", Change.BETTER: "green", Change.SAME: None}
_MACHINE: Final = ("cpu", "core", "memory", "kernel")
"""Words in the keys of an environment by which one machine is told from another."""


def table_of(comparison: Comparison, names: tuple[str, str], *, everything: bool = True) -> str:
    """Return the text, with colours, which click takes out where they are not wanted."""
    table = _table(comparison, names, everything=everything)
    return "\n".join((*_environment(comparison), *table, "", _end(comparison))).strip("\n")


def _environment(comparison: Comparison) -> Iterator[str]:
    if comparison.obstacles:
        yield click.style("These runs cannot be compared:", bold=True)
        yield from (*(f"  - {obstacle}" for obstacle in comparison.obstacles), "")
    if comparison.environment:
        another = any(word in key.lower() for key, _, _ in comparison.environment for word in _MACHINE)
        words = "Another machine or kernel: the figures tell of both it and the code." if another else "What differs:"
        yield click.style(words, fg="yellow" if another else None, bold=True)
        rows = [(f"  {key}", before, "->", after) for key, before, after in comparison.environment]
        yield from (*_columns(rows, "<<<<"), "")


def _table(comparison: Comparison, names: tuple[str, str], *, everything: bool) -> Iterator[str]:
    rows = comparison.rows
    if comparison.obstacles:
        rows = [msgspec.structs.replace(row, change=Change.SAME) for row in rows]
    shown = [row for change in _COLOURS for row in rows if row.change is change]
    shown = [row for row in shown if everything or row.change is not Change.SAME]
    if not shown:
        return
    first, *others = _columns([("", *names, "change", "noise", ""), *map(_cells, shown)], "<>>>><")
    yield click.style(first, dim=True)
    for row, text in zip(shown, others, strict=True):
        yield click.style(text, fg=_COLOURS[row.change], bold=row.change is Change.WORSE)


def _cells(row: Row) -> tuple[str, ...]:
    unit, before, after = unit_of(row.key), row.before.value, row.after.value
    ratio = f"+{figure(after)}" if after else ""
    if row.ratio is not None:
        ratio = f"{100 * row.ratio:+.1f} %"
    change = "" if row.change is Change.SAME else row.change.value
    # Of both intervals the wider one, as half its width.
    widths = [(each.noise[1] - each.noise[0]) / 2 / each.value for each in (row.before, row.after) if each.value]
    noise = f"±{100 * max(widths):.1f} %" if any(widths) else ""
    return (row.key, figure(before, unit), figure(after, unit), ratio, noise, change)


def _end(comparison: Comparison) -> str:
    if comparison.obstacles:
        return click.style("Not comparable.", bold=True)
    worse = sum(row.change is Change.WORSE for row in comparison.rows)
    better = sum(row.change is Change.BETTER for row in comparison.rows)
    if worse:
        words = f"A regression: {worse} figures are worse beyond noise, {better} better."
        return click.style(words, fg="red", bold=True)
    words = f"{better} figures are better" if better else "nothing changed beyond noise"
    return click.style(f"No regression: {words}.", fg="green", bold=True)


def _columns(rows: Sequence[tuple[str, ...]], sides: str) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
        for row in rows
    ]
