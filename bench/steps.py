"""What a run measures, in which order, and about how long each step takes.

Rounds are outermost, so that a machine that becomes slower meets all servers alike.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from bench import connection_cost as cost
from bench import fanout
from bench.catalogue import VARDE, Entry
from bench.connection_cost import HANDSHAKE, IDLE
from bench.fanout import DIRECT, DIRECT_SPOT, FANOUT, HEADLINE, LIGHT
from bench.measured_server import MeasuredServer
from bench.rooms import Plan

DIMENSIONS: Final = (FANOUT, DIRECT, HANDSHAKE, IDLE, "durable", "storms")
QUICK_DIMENSIONS: Final = DIMENSIONS[:-1]  # A storm that is over in seconds says nothing
QUICK_SERVERS: Final = (VARDE, "picows")
_START: Final = 0.8
"""Seconds until a server listens, roughly; the other rates here are as rough, and only for saying what is left."""


class Pace(Struct, frozen=True, kw_only=True):
    """How long and how much is measured. `idle_window` is longer than a heartbeat of any server here."""

    rounds: int
    warm_up: float = 0.5
    window: float = 2.0
    sizes: tuple[int, ...] = (2, 10, HEADLINE, 1_000)
    handshakes: int = 1_500
    idle: tuple[int, ...] = (1_000, 5_000, 10_000)
    idle_window: float = 30.0
    tls_idle: tuple[int, ...] = (1_000,)


_SHORT: Final = {"warm_up": 0.2, "window": 0.8, "idle_window": 1.5}
QUICK: Final = Pace(rounds=1, sizes=(HEADLINE,), handshakes=300, idle=(10_000,), tls_idle=(), **_SHORT)


class Options(Struct, frozen=True, kw_only=True):
    """One run. `servers` empty means every server there is; `say` takes one line about what is done now."""

    output: Path = Path("build")
    quick: bool = False
    tls: bool = True
    rounds: int = 3
    servers: tuple[str, ...] = ()
    say: Callable[[str], None] = print

    def wants(self, server: str) -> bool:
        """Whether this server is to be measured."""
        return not self.servers or server in self.servers

    @property
    def pace(self) -> Pace:
        """How long and how much is measured."""
        return QUICK if self.quick else Pace(rounds=self.rounds)


class Step(Struct, frozen=True, kw_only=True):
    """One server, started with the rooms of `plan` for one measurement, which takes about `planned` seconds.

    `measure` returns figures by their places below the dimension's server; `point_of` makes one of several rounds.
    """

    dimension: str
    entry: Entry
    tls: bool
    words: str
    plan: Plan
    planned: float
    measure: Callable[[MeasuredServer], dict[tuple[str, ...], Any]]
    point_of: Callable[[tuple[str, ...], Sequence[Any]], dict[str, Any]]

    @property
    def text(self) -> str:
        """What it is, in words."""
        return f"{self.entry.title}{', TLS' * self.tls}: {self.words}"


def steps_of(pace: Pace, entries: Sequence[Entry], wanted: Sequence[str], *, tls: bool) -> list[Step]:
    """Return the steps of a run over these servers, for the dimensions that are wanted, plain and with TLS."""
    ways = [(entry, secure) for entry in entries for secure in (False, True) if not secure or (tls and entry.tls)]
    steps = [step for _ in range(pace.rounds) for entry, way in ways for step in _round(pace, entry, wanted, tls=way)]
    for entry, way in ways if IDLE in wanted else ():
        if counts := pace.tls_idle if way else pace.idle:
            steps.append(_idle(pace, entry, counts, tls=way))
    return steps


def _round(pace: Pace, entry: Entry, wanted: Sequence[str], *, tls: bool) -> Iterator[Step]:
    spots = fanout.fan_out_spots((HEADLINE,) if tls else pace.sizes) if FANOUT in wanted else []
    light = [spot for spot in spots if spot.load == LIGHT] + [DIRECT_SPOT] * (DIRECT in wanted)
    # A saturated spot has a process of its own: what a saturated server has not done yet shall burden no other.
    for group in (tuple(light), *((spot,) for spot in spots if spot.load != LIGHT)):
        if group:
            yield Step(
                dimension=FANOUT,
                entry=entry,
                tls=tls,
                words=fanout.words_of(group),
                plan=fanout.plan_for(group),
                planned=_START + len(group) * (pace.warm_up + pace.window + 0.3),
                measure=partial(fanout.measure_spots, spots=group, warm_up=pace.warm_up, seconds=pace.window),
                point_of=fanout.point_of_windows,
            )
    if HANDSHAKE in wanted:
        count = pace.handshakes
        yield Step(
            dimension=HANDSHAKE,
            entry=entry,
            tls=tls,
            words=f"{count} handshakes",
            plan=cost.handshake_plan(count),
            planned=_START + count * (2 if entry.name == VARDE else 1) / _connects(entry),
            measure=partial(cost.measure_handshakes, count=count),
            point_of=cost.point_of_rounds,
        )


def _idle(pace: Pace, entry: Entry, counts: tuple[int, ...], *, tls: bool) -> Step:
    return Step(
        dimension=IDLE,
        entry=entry,
        tls=tls,
        words=f"{', '.join(f'{each:,}' for each in counts)} idle connections",
        plan=cost.idle_plan(counts),
        planned=_START + max(counts) / _connects(entry) + len(counts) + pace.idle_window,
        measure=partial(cost.measure_idle, steps=counts, window=pace.idle_window),
        point_of=lambda _, rounds: rounds[-1],
    )


def _connects(entry: Entry) -> int:
    """Return how many come in a second."""
    return 1_100 if entry.name == VARDE else 4_000
