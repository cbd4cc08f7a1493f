"""What a run measures, in which order, and about how long each step takes.

Rounds are outermost, so that a machine that becomes slower meets all servers alike.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from bench import handshakes, idle
from bench.catalogue import VARDE, Entry
from bench.fanout import DIRECT_SPOT, HEADLINE, LIGHT, Spot, fan_out_spots, plan_for
from bench.rooms import Plan

FANOUT: Final = "fanout"
DIRECT: Final = "direct"
HANDSHAKE: Final = "handshake"
IDLE: Final = "idle"
DURABLE: Final = "durable"
STORMS: Final = "storms"
DIMENSIONS: Final = (FANOUT, DIRECT, HANDSHAKE, IDLE, DURABLE, STORMS)
QUICK_DIMENSIONS: Final = DIMENSIONS[:-1]
"""A storm that is over in seconds says nothing."""
QUICK_SERVERS: Final = (VARDE, "picows")

_START: Final = 0.8
"""Seconds until a server listens, roughly; the other rates here are as rough, and only for saying what is left."""


class Pace(Struct, frozen=True, kw_only=True):
    """How long and how much is measured."""

    rounds: int
    warm_up: float = 0.5
    window: float = 2.0
    sizes: tuple[int, ...] = (2, 10, HEADLINE, 1_000)
    handshakes: int = 1_500
    idle: tuple[int, ...] = (1_000, 5_000, 10_000)
    idle_window: float = 30.0
    """Longer than a heartbeat of any server here."""
    tls_idle: tuple[int, ...] = (1_000,)


QUICK: Final = Pace(
    rounds=1,
    warm_up=0.2,
    window=0.8,
    sizes=(HEADLINE,),
    handshakes=300,
    idle=(10_000,),
    idle_window=1.5,
    tls_idle=(),
)


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
    """One server, started for one measurement: of spots, of so many handshakes, or of idle connections."""

    entry: Entry
    tls: bool
    planned: float
    """Seconds."""
    spots: tuple[Spot, ...] = ()
    handshakes: int = 0
    idle: tuple[int, ...] = ()

    @property
    def dimension(self) -> str:
        """What it measures; spots are of fan-out, but for the direct one."""
        return HANDSHAKE if self.handshakes else IDLE if self.idle else FANOUT

    @property
    def plan(self) -> Plan:
        """The rooms that it needs."""
        if self.handshakes:
            return handshakes.plan_for(self.handshakes)
        return idle.plan_for(self.idle) if self.idle else plan_for(self.spots)

    @property
    def text(self) -> str:
        """What it is, in words."""
        where = f"{self.entry.title}{', TLS' * self.tls}"
        if self.handshakes:
            return f"{where}: {self.handshakes} handshakes"
        if self.idle:
            return f"{where}: {', '.join(f'{each:,}' for each in self.idle)} idle connections"
        loads = ", ".join(sorted({spot.load for spot in self.spots}))
        sizes = ", ".join(map(str, sorted({spot.size for spot in self.spots if spot is not DIRECT_SPOT})))
        return f"{where}: {loads}" + f", rooms of {sizes}" * bool(sizes)


def steps_of(pace: Pace, entries: Sequence[Entry], wanted: Sequence[str], *, tls: bool) -> list[Step]:
    """Return the steps of a run over these servers, for the dimensions that are wanted, plain and with TLS."""
    steps: list[Step] = []
    for _ in range(pace.rounds):
        for entry in entries:
            for secure in _ways(entry, tls=tls):
                steps += _round(pace, entry, wanted, tls=secure)
    for entry in entries if IDLE in wanted else ():
        for secure in _ways(entry, tls=tls):
            counts = pace.tls_idle if secure else pace.idle
            if counts:
                seconds = _START + max(counts) / _connects(entry) + len(counts) + pace.idle_window
                steps.append(Step(entry=entry, tls=secure, idle=counts, planned=seconds))
    return steps


def _ways(entry: Entry, *, tls: bool) -> tuple[bool, ...]:
    return (False, True) if tls and entry.tls else (False,)


def _round(pace: Pace, entry: Entry, wanted: Sequence[str], *, tls: bool) -> Iterator[Step]:
    spots = fan_out_spots((HEADLINE,) if tls else pace.sizes) if FANOUT in wanted else []
    light = [spot for spot in spots if spot.load == LIGHT] + [DIRECT_SPOT] * (DIRECT in wanted)
    # A saturated spot has a process of its own: what a saturated server has not done yet shall burden no other.
    for group in (tuple(light), *((spot,) for spot in spots if spot.load != LIGHT)):
        if group:
            seconds = _START + len(group) * (pace.warm_up + pace.window + 0.3)
            yield Step(entry=entry, tls=tls, spots=group, planned=seconds)
    if HANDSHAKE in wanted:
        seconds = _START + pace.handshakes * (2 if entry.name == VARDE else 1) / _connects(entry)
        yield Step(entry=entry, tls=tls, handshakes=pace.handshakes, planned=seconds)


def _connects(entry: Entry) -> int:
    """Return how many come in a second."""
    return 1_100 if entry.name == VARDE else 4_000
