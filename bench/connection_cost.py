"""What connections cost: handshakes, and the memory and CPU of those that do nothing.

A handshake is the upgrade, and for Varde Noise, ticket and Welcome. An idle connection is a real one: for Varde
authenticated, with its Noise keys, and listening to its conversation.
"""

import time
from collections.abc import Sequence
from typing import Final

from bench.catalogue import VARDE
from bench.clients import MeasuredServer, Member
from bench.process import cpu_seconds, rss_kib
from bench.results import Point, point_of, rounded
from bench.rooms import Plan
from varde_contract.session import Pattern

HANDSHAKE: Final = "handshake"
ROOM: Final = 10  # the first room of idle members is there before memory is read first
GROUP: Final = 250
"""They stay until their group is there: not longer than a relay waits for the first frame of a newcomer."""
GONE_SECONDS: Final = 0.1  # for the server to see that a group has gone, uncounted
WARM_UP: Final = 50  # members that come first, uncounted
PER_CORE: Final = "per_second_per_core"

IDLE: Final = "idle"
SETTLE: Final = 1.0
REST: Final = 0.1  # of a core: below, a server has done what the newcomers left it to do
REST_LOOK: Final = 0.25
REST_LOOKS: Final = 20  # at most: a server that never rests is measured as that
LOOK: Final = 0.02
RSS: Final = "rss_kib_per_connection"


def handshake_plan(count: int) -> Plan:
    """Return rooms for `count` members of each pattern, and those that warm up."""
    return Plan(f"{-(-(WARM_UP + 2 * count) // ROOM)}x{ROOM}")


def measure_handshakes(measured: MeasuredServer, count: int) -> dict[tuple[str, ...], dict[str, float]]:
    """Return the handshakes in a second of one core, by kind: `upgrade`, or for Varde `ik` and `xx`."""
    _connect(measured, range(WARM_UP), Pattern.IK)
    kinds = {"upgrade": Pattern.IK} if measured.entry.name != VARDE else {"xx": Pattern.XX, "ik": Pattern.IK}
    rates, start = dict[str, float](), WARM_UP
    for kind, pattern in kinds.items():
        rates[kind] = count / _connect(measured, range(start, start + count), pattern)
        start += count
    return {(HANDSHAKE,): rates}


def _connect(measured: MeasuredServer, members: range, pattern: Pattern) -> float:
    """Connect members group by group; return the server's CPU seconds for it. Their going is not counted."""
    used = 0.0
    for start in range(0, len(members), GROUP):
        # Made before: their keys cost this process as much as the handshake costs the server.
        clients = list(measured.clients(members[start : start + GROUP], pattern=pattern, joins=False))
        used -= cpu_seconds(measured.server.pid)
        connected = measured.connections.open(clients)
        used += cpu_seconds(measured.server.pid)
        for each in connected:
            each.connection.close()
        time.sleep(GONE_SECONDS)
    return used


def point_of_rounds(_: tuple[str, ...], rounds: Sequence[dict[str, float]]) -> Point:
    """Return what goes into the results: the dearest kind in front, each one beneath it."""
    points = {kind: point_of(PER_CORE, [each[kind] for each in rounds]) for kind in rounds[0]}
    dearest = min(points.values(), key=lambda point: float(str(point[PER_CORE])))
    return {**dearest, **points} if len(points) > 1 else dearest


def idle_plan(steps: Sequence[int]) -> Plan:
    """Return rooms of ten for the largest step."""
    return Plan(f"{max(steps) // ROOM}x{ROOM}")


def measure_idle(measured: MeasuredServer, steps: Sequence[int], *, window: float) -> dict[tuple[str, ...], Point]:
    """Connect more and more, read the server's memory at each step, then its CPU over `window` seconds."""
    members, held = list[Member](), list[int]()
    for upto in (ROOM, *steps):
        members += measured.connections.open(measured.clients(range(len(members), upto)))
        _cores_over(measured, SETTLE)
        held.append(rss_kib(measured.server.pid))
    growth = [
        {"connections": upto, "rss_kib": kib, RSS: rounded((kib - held[0]) / (upto - ROOM))}
        for upto, kib in zip(steps, held[1:], strict=True)
    ]
    for _ in range(REST_LOOKS):
        if _cores_over(measured, REST_LOOK) < REST:
            break
    pings, start = sum(each.pings for each in members), time.perf_counter()
    cores = _cores_over(measured, window)
    figures = {
        RSS: growth[-1][RSS],
        "growth": growth,
        f"cpu_cores_at_{len(members)}": rounded(cores),
        "window_seconds": rounded(time.perf_counter() - start),
        "pings_in_window": sum(each.pings for each in members) - pings,
    }
    return {(IDLE,): figures}


def _cores_over(measured: MeasuredServer, seconds: float) -> float:
    """Answer what the server asks, such as pings, for so many seconds, and return the cores that it used."""
    used, start = cpu_seconds(measured.server.pid), time.perf_counter()
    while time.perf_counter() < start + seconds:
        measured.connections.poll()
        time.sleep(LOOK)
    return (cpu_seconds(measured.server.pid) - used) / (time.perf_counter() - start)
