"""What the design promises (`targets.toml`), held against one run, and Varde's figures as multiples of its peers'."""

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from bench.catalogue import VARDE
from bench.results import Results

_FILE: Final = Path(__file__).with_name("targets.toml")
RATIOS: Final = {
    "fanout.light": "light.us_per_delivery",
    "fanout.saturated": "saturated.us_per_delivery",
    "direct": "us_per_message",
    "idle": "rss_kib_per_connection",
}
"""Figures of which less is better: the dimension, and where they stand below each server."""


class Target(Struct, frozen=True, forbid_unknown_fields=True):
    """A promise: `most` or `least`."""

    what: str
    unit: str
    figure: str
    of: str = ""
    most: float | None = None
    least: float | None = None


class Verdict(Struct, frozen=True):
    """A promise and what became of it. `met` is None where nothing was measured."""

    what: str
    target: str
    measured: float | None
    met: bool | None


def judge(results: Results) -> list[Verdict]:
    """Hold every target against a run."""
    targets = msgspec.toml.decode(_FILE.read_bytes(), type=dict[str, list[Target]])["target"]
    return [_judge(target, _ratio(results, target.figure, target.of)) for target in targets]


def _judge(target: Target, measured: float | None) -> Verdict:
    limit = target.least if target.most is None else target.most
    assert limit is not None
    met = None if measured is None else measured <= limit if target.least is None else measured >= limit
    text = f"{'≤' if target.least is None else '≥'} {limit:,.6g}{target.unit}"
    return Verdict(target.what, text, measured, met)


def _ratio(results: Results, figure: str, of: str) -> float | None:
    upper, lower = results.number(*figure.split(".")), results.number(*of.split(".")) if of else 1.0
    return upper / lower if upper is not None and lower else None


def ratios_of(results: Results) -> dict[str, dict[str, float]]:
    """Return, for each of those figures, Varde's as a multiple of each peer's."""
    found: dict[str, dict[str, float]] = {}
    for name, below in RATIOS.items():
        dimension = name.partition(".")[0]
        peers = [peer for peer in results.find(dimension) or {} if peer != VARDE]
        ratios = {
            peer: _ratio(results, f"{dimension}.{VARDE}.{below}", f"{dimension}.{peer}.{below}") for peer in peers
        }
        found[name] = {peer: round(ratio, 3) for peer, ratio in ratios.items() if ratio is not None}
    return found
