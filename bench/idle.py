"""What connections cost that do nothing: memory for each, as they grow in number, and CPU for all of them together.

An idle connection is a real one: for Varde authenticated, with its Noise keys, and listening to its conversation.
"""

import time
from collections.abc import Sequence
from typing import Final

from bench.clients import Member
from bench.measured_server import MeasuredServer
from bench.process import rss_kib
from bench.results import Point, rounded
from bench.rooms import Plan

DIMENSION: Final = "idle"
ROOM: Final = 10  # members of each conversation; the first ten are there before memory is read first
SETTLE: Final = 1.0
REST: Final = 0.1  # of a core: below, a server has done what the newcomers left it to do
REST_LOOK: Final = 0.25
REST_LOOKS: Final = 20  # at most: a server that never rests is measured as that
LOOK: Final = 0.02
KEY: Final = "rss_kib_per_connection"


def plan_for(steps: Sequence[int]) -> Plan:
    """Return rooms of ten for the largest step."""
    return Plan(f"{max(steps) // ROOM}x{ROOM}")


def measure_idle(measured: MeasuredServer, steps: Sequence[int], *, window: float) -> dict[tuple[str, ...], Point]:
    """Connect more and more, read the server's memory at each step, then its CPU over `window` seconds."""
    members, held = list[Member](), list[int]()
    for upto in (ROOM, *steps):
        clients = measured.clients(range(len(members), upto))
        members += measured.connections.open(clients)
        _wait(measured, SETTLE)
        held.append(rss_kib(measured.server.pid))
    growth = [
        {"connections": upto, "rss_kib": kib, KEY: rounded((kib - held[0]) / (upto - ROOM))}
        for upto, kib in zip(steps, held[1:], strict=True)
    ]
    return {(DIMENSION,): {KEY: growth[-1][KEY], "growth": growth, **_measure_cpu(measured, members, window)}}


def _measure_cpu(measured: MeasuredServer, members: Sequence[Member], window: float) -> Point:
    for _ in range(REST_LOOKS):
        if _cpu_over(measured, REST_LOOK) < REST:
            break
    pings, start = sum(each.pings for each in members), time.perf_counter()
    cores = _cpu_over(measured, window)
    return {
        f"cpu_cores_at_{len(members)}": rounded(cores),
        "window_seconds": rounded(time.perf_counter() - start),
        "pings_in_window": sum(each.pings for each in members) - pings,
    }


def _cpu_over(measured: MeasuredServer, seconds: float) -> float:
    used, start = measured.server.cpu_seconds(), time.perf_counter()
    _wait(measured, seconds)
    return (measured.server.cpu_seconds() - used) / (time.perf_counter() - start)


def _wait(measured: MeasuredServer, seconds: float) -> None:
    """Answer what the server asks, such as pings, for so many seconds."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        measured.connections.poll()
        time.sleep(LOOK)
