"""What it costs the server to let somebody in: upgrade, and for Varde Noise, ticket and Welcome."""

import time
from collections.abc import Sequence
from typing import Final

from bench.catalogue import VARDE
from bench.measured_server import MeasuredServer
from bench.results import Point, point_of
from bench.rooms import Plan
from varde_contract.session import Pattern

DIMENSION: Final = "handshake"
ROOM: Final = 10
GROUP: Final = 250
"""They stay until their group is there: not longer than a relay waits for the first frame of a newcomer."""
GONE_SECONDS: Final = 0.1  # for the server to see that a group has gone, uncounted
WARM_UP: Final = 50  # members that come first, uncounted
KEY: Final = "per_second_per_core"


def plan_for(count: int) -> Plan:
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
    return {(DIMENSION,): rates}


def _connect(measured: MeasuredServer, members: range, pattern: Pattern) -> float:
    """Connect members group by group; return the server's CPU seconds for it. Their going is not counted."""
    used = 0.0
    for start in range(0, len(members), GROUP):
        # Made before: their keys cost this process as much as the handshake costs the server.
        clients = list(measured.clients(members[start : start + GROUP], pattern=pattern, joins=False))
        used -= measured.server.cpu_seconds()
        connected = measured.connections.open(clients)
        used += measured.server.cpu_seconds()
        for each in connected:
            each.connection.close()
        time.sleep(GONE_SECONDS)
    return used


def point_of_rounds(_: tuple[str, ...], rounds: Sequence[dict[str, float]]) -> Point:
    """Return what goes into the results: the dearest kind in front, each one beneath it."""
    points = {kind: point_of(KEY, [each[kind] for each in rounds]) for kind in rounds[0]}
    dearest = min(points.values(), key=lambda point: float(str(point[KEY])))
    return {**dearest, **points} if len(points) > 1 else dearest
