"""Fan-out and direct messages: what one delivery costs the server, by room size and by load."""

from collections.abc import Sequence
from itertools import cycle
from typing import Final

from msgspec import Struct

from bench.driving import Window, measure_window, settle
from bench.lines import Line
from bench.plan import Plan
from bench.rounds import Point, point_of_windows
from bench.stage import Stage
from loadtest.client.websocket import ServerFault

HEADLINE: Final = 100
"""The room whose figures stand for fan-out."""
PAIR: Final = 2
LIGHT: Final = "light"
SATURATED: Final = "saturated"
LOADS: Final = {LIGHT: 20_000, SATURATED: 200_000}
"""Deliveries offered in a second."""
DIRECT: Final = 16_000
"""Messages offered in a second, one to one."""
MESSAGES: Final = 40_000
"""Offered in a second at the most: where rooms are small, no server takes more, and the generator must not choke."""
LINES: Final = 100
"""Connections at the least: small rooms come in numbers."""
AT_ONCE: Final = 32
CONNECT: Final = 30.0
"""Seconds to connect all members of one size."""


class Spot(Struct, frozen=True):
    """Where to measure: rooms of a size, with deliveries offered in a second under the name of a load."""

    size: int
    load: str
    offered: int

    @property
    def messages(self) -> float:
        """How many messages a second that is."""
        return min(MESSAGES, self.offered / (self.size - 1))


def fan_out_spots(sizes: Sequence[int]) -> list[Spot]:
    """Return every size at every load."""
    return [Spot(size, load, offered) for size in sizes for load, offered in LOADS.items()]


DIRECT_SPOT: Final = Spot(PAIR, "direct", DIRECT)


def plan_for(spots: Sequence[Spot]) -> Plan:
    """Return rooms of every size that is asked for."""
    sizes = sorted({spot.size for spot in spots})
    return Plan(",".join(f"{max(1, LINES // size)}x{size}" for size in sizes))


def measure_spots(stage: Stage, spots: Sequence[Spot], *, warm_up: float, seconds: float) -> dict[Spot, Window]:
    """Measure one window for each spot. The members of one size are connected only while it is measured."""
    windows = {}
    for size in sorted({spot.size for spot in spots}):
        rooms = stage.plan.of_size(size)
        lines = stage.exchange.connect(stage.clients(rooms), at_once=AT_ONCE, deadline=CONNECT)
        for spot in spots:
            if spot.size == size:
                windows[spot] = _measure(stage, _scattered(lines, size), spot, warm_up, seconds)
        stage.exchange.drop(lines)
    return windows


def _measure(stage: Stage, lines: Sequence[Line], spot: Spot, warm_up: float, seconds: float) -> Window:
    window = measure_window(
        stage.server, stage.exchange, lines, rate=spot.messages, warm_up=warm_up, seconds=seconds, turn=cycle
    )
    settle(stage.exchange, lines)
    if not window.deliveries:
        raise ServerFault("delivered nothing while it was measured")
    return window


def _scattered(lines: Sequence[Line], size: int) -> list[Line]:
    """Order lines so that neighbours in the order are in different rooms, as messages of real people are."""
    ordered = sorted(lines, key=lambda line: line.client.member)
    return [line for place in range(size) for line in ordered[place::size]]


def fan_out_point(spot: Spot, windows: Sequence[Window]) -> Point:
    """Return what goes into the results for one spot of fan-out."""
    return point_of_windows("us_per_delivery", windows, spot.messages * (spot.size - 1))


def direct_point(windows: Sequence[Window]) -> Point:
    """Return what goes into the results for direct messages: there, a delivery is a message."""
    return point_of_windows("us_per_message", windows, DIRECT_SPOT.messages)
