"""What is measured on one server of its own: fan-out, direct messages, handshakes, idle connections.

Messages are offered at a steady rate, by the members in turn, and server CPU is divided by the deliveries that arrived:
what one costs, by room size and by load. A handshake is the upgrade, and for Varde Noise, ticket and Welcome. An idle
connection is a real one: for Varde authenticated, with its Noise keys, and listening to its conversation.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Final, NamedTuple, TypeAlias

from bench.clients import MeasuredServer, Member
from bench.connections import Connections
from bench.results import Point, point_of, rounded
from bench.server import VARDE, Server, cpu_seconds, rss_kib
from loadtest.client.websocket import ServerFault
from loadtest.stack.rooms import Plan
from varde_contract.session import Pattern

FANOUT: Final = "fanout"
DIRECT: Final = "direct"
HEADLINE: Final = 100  # the room whose figures stand for fan-out
PAIR: Final = 2
LIGHT: Final = "light"
LOADS: Final = {LIGHT: 20_000, "saturated": 200_000}  # deliveries offered in a second
DIRECT_RATE: Final = 16_000  # messages offered in a second, one to one
MESSAGES: Final = 40_000
"""Offered in a second at most: where rooms are small, no server takes more, and the load must not choke."""
CONNECTIONS: Final = 100  # at least: small rooms come in numbers
PAUSE: Final = 0.0005
"""Seconds between two looks at the sockets. Woken for each packet, the load would be charged to the server: whoever
sends on loopback pays for waking the receiver."""
SHORTEST_PAUSE: Final = 0.0001
TOGETHER: Final = 2
"""Messages that one pass offers, as long as the pause is not shorter than that: people do not write in step."""
CATCH_UP: Final = 0.02  # seconds' worth of messages that are offered late; beyond, the load was not able to
BUSY: Final = 0.9  # of a core: above, the load itself may have been what limited the rate

HANDSHAKE: Final = "handshake"
ROOM: Final = 10  # the first room of idle members is there before memory is read first
GROUP: Final = 250
"""They stay until their group is there: not longer than a relay waits for the first frame of a newcomer."""
GONE_SECONDS: Final = 0.1  # for the server to see that a group has gone, uncounted
WARM_UP: Final = 50  # members that come first, uncounted
PER_CORE: Final = "per_second_per_core"

IDLE: Final = "idle"
IDLE_SETTLE: Final = 1.0
REST: Final = 0.1  # of a core: below, a server has done what the newcomers left it to do
REST_LOOK: Final = 0.25
REST_LOOKS: Final = 20  # at most: a server that never rests is measured as that
LOOK: Final = 0.02
RSS: Final = "rss_kib_per_connection"


class Spot(NamedTuple):
    """What is measured: a load, in rooms of a size."""

    load: str
    size: int

    @property
    def place(self) -> tuple[str, ...]:
        """Where its figure stands in the results, but for the server."""
        return (DIRECT,) if self.load == DIRECT else (FANOUT, self.load, "rooms", str(self.size))

    @property
    def words(self) -> str:
        """What it is, for whoever waits."""
        return DIRECT if self.load == DIRECT else f"{self.load}, rooms of {self.size}"

    @property
    def plan(self) -> Plan:
        """Rooms of this size, and enough of them."""
        return Plan(f"{max(1, CONNECTIONS // self.size)}x{self.size}")

    @property
    def rate(self) -> float:
        """How many messages are offered in a second."""
        return DIRECT_RATE if self.load == DIRECT else min(MESSAGES, LOADS[self.load] / (self.size - 1))


Window: TypeAlias = dict[str, float]
"""What happened while it was open: `us_per_delivery` of server CPU, `deliveries_per_second`, `server_load` and
`generator_load` (cores), messages `sent`, `held_back` because the socket had no room, and `refused` by the server."""


def measure_spot(measured: MeasuredServer, spot: Spot, pace: tuple[float, float]) -> dict[tuple[str, ...], Window]:
    """Measure one window. The server began for it: what a saturated one has not done yet burdens no other window."""
    members = measured.connections.open(measured.clients(range(measured.plan.members)))
    # Neighbours in the order are in different rooms, as messages of real people are.
    ordered = sorted(members, key=lambda member: member.number)
    order = cycle([member for place in range(spot.size) for member in ordered[place :: spot.size]])
    window = measure_window(measured.server, measured.connections, members, order, spot.rate, pace)
    return {spot.place: {**window, "offered_per_second": spot.rate * (spot.size - 1)}}


def measure_window(
    server: Server,
    connections: Connections,
    members: Sequence[Member],
    order: Iterator[Member],
    rate: float,
    pace: tuple[float, float],
) -> Window:
    """Warm up, then measure, for the seconds of `pace`. `order` is who sends the next message."""
    warm_up, seconds = pace
    _offer(connections, order, rate, warm_up)
    before, used, own, start = _received(members), cpu_seconds(server.pid), time.process_time(), time.perf_counter()
    sent, held_back = _offer(connections, order, rate, seconds)
    own, seconds = time.process_time() - own, time.perf_counter() - start
    used, after = cpu_seconds(server.pid) - used, _received(members)
    deliveries = after[0] - before[0]
    if not deliveries:
        raise ServerFault("delivered nothing while it was measured")
    return {
        "us_per_delivery": used / deliveries * 1e6,
        "deliveries_per_second": deliveries / seconds,
        "server_load": used / seconds,
        "generator_load": own / seconds,
        "sent": sent,
        "held_back": held_back,
        "refused": after[1] - before[1],
    }


def _offer(connections: Connections, order: Iterator[Member], rate: float, seconds: float) -> tuple[int, int]:
    """Offer `rate` messages a second, and receive meanwhile. Return how many were sent, and how many held back."""
    start, offered, sent, held_back = time.perf_counter(), 0, 0, 0
    pause = min(PAUSE, max(SHORTEST_PAUSE, TOGETHER / rate))
    while (now := time.perf_counter()) < start + seconds:
        due = int((now - start) * rate)
        late = due - offered - int(rate * CATCH_UP) - 1
        if late > 0:
            held_back += late
            offered += late
        while offered < due:
            offered += 1
            member = next(order)
            if member.connection.unsent:
                held_back += 1
                continue
            sent += 1
            member.connection.send(member.message())
        connections.poll()
        time.sleep(pause)
    return sent, held_back


def _received(members: Sequence[Member]) -> tuple[int, int]:
    """Return deliveries and refusals so far."""
    return sum(each.deliveries for each in members), sum(each.refused for each in members)


def point_of_windows(place: tuple[str, ...], windows: Sequence[Window]) -> Point:
    """Return what goes into the results; of direct messages, each delivery is a message."""
    of = {key: [window[key] for window in windows] for key in windows[0]}
    return {
        **point_of(f"us_per_{'message' if place[0] == DIRECT else 'delivery'}", of["us_per_delivery"]),
        "offered_per_second": rounded(of["offered_per_second"][0]),
        "achieved_per_second": rounded(statistics.median(of["deliveries_per_second"])),
        "held_back": sum(of["held_back"]),
        "refused": sum(of["refused"]),
        "server_load": rounded(statistics.median(of["server_load"])),
        "generator_load": rounded(max(of["generator_load"])),
        "generator_bound": max(of["generator_load"]) > BUSY,
    }


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


def measure_idle(measured: MeasuredServer, steps: Sequence[int], *, window: float) -> dict[tuple[str, ...], Point]:
    """Connect more and more, read the server's memory at each step, then its CPU over `window` seconds."""
    members, held = list[Member](), list[int]()
    for upto in (ROOM, *steps):
        members += measured.connections.open(measured.clients(range(len(members), upto)))
        _cores_over(measured, IDLE_SETTLE)
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
