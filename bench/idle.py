"""What connections cost that do nothing: memory for each, as they grow in number, and CPU for all of them together.

An idle connection is a real one: for Varde authenticated, with its Noise keys, and listening to its conversation.
"""

import time
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from bench.lines import Line
from bench.plan import Plan
from bench.rounds import Point, rounded
from bench.stage import Stage

ROOM: Final = 10
"""Members of each conversation; the first ten are there before memory is read first."""
AT_ONCE: Final = 64
CONNECT: Final = 180.0
"""Seconds for each step of the crowd."""
SETTLE: Final = 1.0
CALM: Final = 0.1
"""Of a core: below, a server has done what the coming of the crowd left it to do."""
CALM_LOOK: Final = 0.25
CALM_LOOKS: Final = 20
"""At the most: a server that never rests is measured as that."""
LOOK: Final = 0.02
CROWD: Final = 10_000
"""Where the headline figures are read."""

KEY: Final = "rss_kib_per_connection"


class Crowd(Struct, frozen=True):
    """So many connections, and the server's memory with them."""

    connections: int
    rss_kib: int


def plan_for(steps: Sequence[int]) -> Plan:
    """Return rooms of ten for the largest crowd."""
    return Plan(f"{max(steps) // ROOM}x{ROOM}")


def measure_idle(stage: Stage, steps: Sequence[int], *, window: float) -> Point:
    """Let a crowd grow in steps and read the server's memory at each, then its CPU over `window` seconds."""
    lines: list[Line] = []
    crowds = [_grow(stage, lines, upto) for upto in (ROOM, *steps)]
    growth = [_point(crowds[0], crowd) for crowd in crowds[1:]]
    return {KEY: growth[-1][KEY], "growth": growth, **_watch(stage, lines, window)}


def _grow(stage: Stage, lines: list[Line], upto: int) -> Crowd:
    clients = (stage.client(member) for member in range(len(lines), upto))
    lines += stage.exchange.connect(clients, at_once=AT_ONCE, deadline=CONNECT)
    _listen(stage, SETTLE)
    return Crowd(len(lines), stage.server.rss_kib())


def _point(first: Crowd, crowd: Crowd) -> Point:
    grown = (crowd.rss_kib - first.rss_kib) / (crowd.connections - first.connections)
    return {"connections": crowd.connections, "rss_kib": crowd.rss_kib, KEY: rounded(grown)}


def _watch(stage: Stage, lines: Sequence[Line], window: float) -> Point:
    _wait_calm(stage)
    pings, used, start = _pings(lines), stage.server.cpu_seconds(), time.perf_counter()
    _listen(stage, window)
    used, seconds = stage.server.cpu_seconds() - used, time.perf_counter() - start
    return {
        f"cpu_cores_at_{len(lines)}": rounded(used / seconds),
        "window_seconds": rounded(seconds),
        "pings_in_window": _pings(lines) - pings,
    }


def _wait_calm(stage: Stage) -> None:
    for _ in range(CALM_LOOKS):
        used = stage.server.cpu_seconds()
        _listen(stage, CALM_LOOK)
        if stage.server.cpu_seconds() - used < CALM * CALM_LOOK:
            return


def _listen(stage: Stage, seconds: float) -> None:
    """Answer what the server asks, such as pings, for so many seconds."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        stage.exchange.pull()
        time.sleep(LOOK)


def _pings(lines: Sequence[Line]) -> int:
    return sum(line.client.pings for line in lines)
