"""What the design promises, held against what was measured in one run."""

from collections.abc import Callable
from typing import Final, TypeAlias

from msgspec import Struct

from bench.results import Results

_Figure: TypeAlias = Callable[[Results], float | None]


class Target(Struct, frozen=True):
    """A promise: `figure` of a run is at most `limit`, or at least with `least`."""

    what: str
    limit: float
    unit: str
    figure: _Figure
    least: bool = False

    @property
    def text(self) -> str:
        """The promise as one reads it."""
        return f"{'≥' if self.least else '≤'} {self.limit:,.6g} {self.unit}".replace(" x", "x")


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


def _direct(server: str) -> tuple[str, ...]:
    return ("direct", server, "us_per_message")


def _crowd(rate: int) -> _Figure:
    return _at("durable", "varde", "connections", "at", str(rate), "p99_ms")


TARGETS: Final = (
    Target(
        "fan-out CPU, light load, of picows", 1.0, "x", _ratio(_fan_out("varde", "light"), _fan_out("picows", "light"))
    ),
    Target(
        "fan-out CPU, saturated, of picows",
        0.6,
        "x",
        _ratio(_fan_out("varde", "saturated"), _fan_out("picows", "saturated")),
    ),
    Target(
        "fan-out CPU of trio-websocket, light load, of ours",
        5.0,
        "x",
        _ratio(_fan_out("trio-websocket", "light"), _fan_out("varde", "light")),
        least=True,
    ),
    Target(
        "fan-out CPU of trio-websocket, saturated, of ours",
        5.0,
        "x",
        _ratio(_fan_out("trio-websocket", "saturated"), _fan_out("varde", "saturated")),
        least=True,
    ),
    Target("direct CPU for a message, of picows", 1.3, "x", _ratio(_direct("varde"), _direct("picows"))),
    Target("memory for an idle connection, 10,000 of them", 16, "KiB", _at("idle", "varde", "rss_kib_per_connection")),
    Target(
        "full handshakes, in a second of one core",
        1_500,
        "",
        _at("handshake", "varde", "per_second_per_core"),
        least=True,
    ),
    Target("CPU of 10,000 idle connections", 0.15, "cores", _at("idle", "varde", "cpu_cores_at_10000")),
    Target("durable, 10,000 connections, 1,000 messages/s: p99", 10, "ms", _crowd(1_000)),
    Target("durable, 10,000 connections, 6,000 messages/s: p99", 25, "ms", _crowd(6_000)),
    Target("durable, 10,000 connections, 10,000 messages/s: p99", 120, "ms", _crowd(10_000)),
)


def judge(results: Results) -> list[Verdict]:
    """Hold every target against a run."""
    return [_verdict(target, target.figure(results)) for target in TARGETS]


def _verdict(target: Target, measured: float | None) -> Verdict:
    if measured is None:
        return Verdict(target.what, target.text.strip(), None, None)
    met = measured >= target.limit if target.least else measured <= target.limit
    return Verdict(target.what, target.text.strip(), measured, met)


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
        peers = [peer for peer in results.find(dimension) or {} if peer != "varde"]
        pairs = {peer: _ratio((dimension, "varde", *below), (dimension, peer, *below))(results) for peer in peers}
        found[name] = {peer: round(ratio, 3) for peer, ratio in pairs.items() if ratio is not None}
    return found
