"""What the design promises, held against one run, and Varde's figures as multiples of its peers'."""

from collections.abc import Callable
from typing import Final, TypeAlias

from msgspec import Struct

from bench.catalogue import VARDE
from bench.results import Results

_Figure: TypeAlias = Callable[[Results], float | None]


class Verdict(Struct, frozen=True):
    """A promise and what became of it. `met` is None where nothing was measured."""

    what: str
    target: str
    measured: float | None
    met: bool | None


def _at(*names: str) -> _Figure:
    return lambda results: results.number(*names)


def _ratio(over: tuple[str, ...], under: tuple[str, ...]) -> _Figure:
    def figure(results: Results) -> float | None:
        upper, lower = results.number(*over), results.number(*under)
        return upper / lower if upper is not None and lower else None

    return figure


def _fan_out(server: str, load: str) -> tuple[str, ...]:
    return ("fanout", server, load, "us_per_delivery")


def _many(rate: int) -> _Figure:
    return _at("durable", VARDE, "connections", "at", str(rate), "p99_ms")


_PICOWS, _TRIO = "picows", "trio-websocket"
_DIRECT: Final = _ratio(("direct", VARDE, "us_per_message"), ("direct", _PICOWS, "us_per_message"))
TARGETS: Final[tuple[tuple[str, str, float, str, _Figure], ...]] = (
    *(
        (f"fan-out CPU, {words}, of picows", "≤", limit, "x", _ratio(_fan_out(VARDE, load), _fan_out(_PICOWS, load)))
        for load, words, limit in (("light", "light load", 1.0), ("saturated", "saturated", 0.6))
    ),
    *(
        (
            f"fan-out CPU of {_TRIO}, {words}, of ours",
            "≥",
            5.0,
            "x",
            _ratio(_fan_out(_TRIO, load), _fan_out(VARDE, load)),
        )
        for load, words in (("light", "light load"), ("saturated", "saturated"))
    ),
    ("direct CPU for a message, of picows", "≤", 1.3, "x", _DIRECT),
    ("memory for an idle connection, 10,000 of them", "≤", 16, " KiB", _at("idle", VARDE, "rss_kib_per_connection")),
    ("full handshakes, in a second of one core", "≥", 1_500, "", _at("handshake", VARDE, "per_second_per_core")),
    ("CPU of 10,000 idle connections", "≤", 0.15, " cores", _at("idle", VARDE, "cpu_cores_at_10000")),
    *(
        (f"durable, 10,000 connections, {rate:,} messages/s: p99", "≤", limit, " ms", _many(rate))
        for rate, limit in ((1_000, 10), (6_000, 25), (10_000, 120))
    ),
)
"""What it is about, at most or at least, the limit with its unit, and where the figure is found."""


def judge(results: Results) -> list[Verdict]:
    """Hold every target against a run."""
    verdicts = []
    for what, sign, limit, unit, figure in TARGETS:
        measured = figure(results)
        met = None if measured is None else measured >= limit if sign == "≥" else measured <= limit
        verdicts.append(Verdict(what, f"{sign} {limit:,.6g}{unit}", measured, met))
    return verdicts


RATIOS: Final[dict[str, tuple[str, ...]]] = {
    "fanout.light": ("light", "us_per_delivery"),
    "fanout.saturated": ("saturated", "us_per_delivery"),
    "direct": ("us_per_message",),
    "idle": ("rss_kib_per_connection",),
}
"""Figures of which less is better: the dimension, and where they stand below each server."""


def ratios_of(results: Results) -> dict[str, dict[str, float]]:
    """Return, for each of those figures, Varde's as a multiple of each peer's."""
    found: dict[str, dict[str, float]] = {}
    for name, below in RATIOS.items():
        dimension = name.partition(".")[0]
        peers = [peer for peer in results.find(dimension) or {} if peer != VARDE]
        pairs = {peer: _ratio((dimension, VARDE, *below), (dimension, peer, *below))(results) for peer in peers}
        found[name] = {peer: round(ratio, 3) for peer, ratio in pairs.items() if ratio is not None}
    return found
