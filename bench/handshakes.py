"""What it costs the server to let somebody in: upgrade, and for Varde Noise, ticket and Welcome."""

import time
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from bench.catalogue import VARDE
from bench.plan import Plan
from bench.rounds import Point, point_of
from bench.stage import Stage
from varde_contract.session import Pattern

ROOM: Final = 10
AT_ONCE: Final = 64
"""In the middle of a handshake at a time, as when a train comes out of a tunnel."""
GROUP: Final = 250
"""They stay until their group is there: not longer than a relay waits for the first word of a newcomer."""
BREATH: Final = 0.1
"""Seconds for the server to see that a group has gone, uncounted."""
CONNECT: Final = 60.0
WARM_UP: Final = 50
"""Members that come first, uncounted."""

KEY: Final = "per_second_per_core"


class Handshakes(Struct, frozen=True):
    """How many of one kind were done, and the server's CPU seconds for all of them."""

    count: int
    server_cpu: float

    @property
    def per_second_per_core(self) -> float:
        """How many a core would do in a second."""
        return self.count / self.server_cpu


def plan_for(count: int) -> Plan:
    """Return rooms for `count` members of each pattern, and those that warm up."""
    return Plan(f"{-(-(WARM_UP + 2 * count) // ROOM)}x{ROOM}")


def measure_handshakes(stage: Stage, count: int) -> dict[str, Handshakes]:
    """Let `count` members come, for Varde once with each pattern. The CPU of their going is not counted."""
    _come(stage, range(WARM_UP), Pattern.IK)
    if stage.entry.name != VARDE:
        return {"upgrade": _come(stage, range(WARM_UP, WARM_UP + count), Pattern.IK)}
    members = {Pattern.XX: range(WARM_UP, WARM_UP + count), Pattern.IK: range(WARM_UP + count, WARM_UP + 2 * count)}
    return {pattern.name.lower(): _come(stage, who, pattern) for pattern, who in members.items()}


def _come(stage: Stage, members: range, pattern: Pattern) -> Handshakes:
    groups = [members[start : start + GROUP] for start in range(0, len(members), GROUP)]
    return Handshakes(len(members), sum(_come_together(stage, group, pattern) for group in groups))


def _come_together(stage: Stage, members: range, pattern: Pattern) -> float:
    """Let one group come and go; return the server's CPU seconds for the coming."""
    clients = [stage.client(member, pattern=pattern, joins=False) for member in members]
    before = stage.server.cpu_seconds()
    lines = stage.exchange.connect(clients, at_once=AT_ONCE, deadline=CONNECT)
    used = stage.server.cpu_seconds() - before
    stage.exchange.drop(lines)
    time.sleep(BREATH)
    return used


def handshake_point(rounds: Sequence[dict[str, Handshakes]]) -> Point:
    """Return what goes into the results: the dearest pattern in front, each one beneath it."""
    points = {kind: point_of(KEY, [each[kind].per_second_per_core for each in rounds]) for kind in rounds[0]}
    dearest = min(points.values(), key=lambda point: float(str(point[KEY])))
    return {**dearest, **points} if len(points) > 1 else dearest
