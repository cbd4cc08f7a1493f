"""A comparison as text for a terminal: what is worse first, then what is better, then the rest."""

from collections.abc import Iterator, Sequence
from typing import Final

import click
import msgspec

from loadtest.report.comparison import Change, Comparison, Line
from loadtest.report.page.figures import figure, unit_of

_ORDER: Final = (Change.WORSE, Change.BETTER, Change.SAME)
_COLOURS: Final = {Change.WORSE: "red", Change.BETTER: "green", Change.SAME: None}
_MACHINE: Final = ("cpu", "core", "memory", "kernel")
"""Words in the keys of an environment by which one machine is told from another."""


def tell(comparison: Comparison, names: tuple[str, str], *, everything: bool = True) -> str:
    """Return the text, with colours, which click takes out where they are not wanted."""
    parts = [
        *_obstacles(comparison),
        *_environment(comparison),
        *(_table(comparison, names, everything=everything) if comparison.lines else ()),
        "",
        _end(comparison),
    ]
    return "\n".join(parts).strip("\n")


def _obstacles(comparison: Comparison) -> Iterator[str]:
    if comparison.obstacles:
        yield click.style("These runs cannot be compared:", bold=True)
        yield from (f"  - {obstacle}" for obstacle in comparison.obstacles)
        yield ""


def _environment(comparison: Comparison) -> Iterator[str]:
    if not comparison.environment:
        return
    another = any(word in key.lower() for key, _, _ in comparison.environment for word in _MACHINE)
    words = "Another machine or kernel: the figures tell of both it and the code." if another else "What else differs:"
    yield click.style(words, fg="yellow" if another else None, bold=True)
    yield from _columns([(f"  {key}", before, "->", after) for key, before, after in comparison.environment], "<<<<")
    yield ""


def _table(comparison: Comparison, names: tuple[str, str], *, everything: bool) -> Iterator[str]:
    lines = comparison.lines
    if comparison.obstacles:
        lines = [msgspec.structs.replace(line, change=Change.SAME) for line in lines]
    shown = [line for change in _ORDER for line in lines if line.change is change]
    shown = [line for line in shown if everything or line.change is not Change.SAME]
    if not shown:
        return
    rows = [("", *names, "change", "noise", ""), *(_row(line) for line in shown)]
    first, *others = _columns(rows, "<>>>><")
    yield click.style(first, dim=True)
    yield from (
        click.style(text, fg=_COLOURS[line.change], bold=line.change is Change.WORSE)
        for line, text in zip(shown, others, strict=True)
    )


def _row(line: Line) -> tuple[str, ...]:
    unit = unit_of(line.key)
    ratio = "" if line.ratio is None else f"{100 * line.ratio:+.1f} %"
    change = "" if line.change is Change.SAME else line.change.value
    if line.ratio is None and line.after:
        ratio = f"+{figure(line.after)}"
    return (line.key, figure(line.before, unit), figure(line.after, unit), ratio, _noise(line), change)


def _noise(line: Line) -> str:
    """The wider of both intervals, as half its width."""
    both = ((line.before, line.noise_before), (line.after, line.noise_after))
    widest = max([(high - low) / 2 / value for value, (low, high) in both if value], default=0.0)
    return f"±{100 * widest:.1f} %" if widest else ""


def _end(comparison: Comparison) -> str:
    if comparison.obstacles:
        return click.style("Not comparable.", bold=True)
    worse = sum(line.change is Change.WORSE for line in comparison.lines)
    better = sum(line.change is Change.BETTER for line in comparison.lines)
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
