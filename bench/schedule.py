"""What a run measures, in which order, and about how long each step takes: rounds outermost, so that a machine that
becomes slower meets all servers alike.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from bench.catalogue import VARDE, Entry
from bench.live import DIRECT_SPOT, HEADLINE, LIGHT, SATURATED, Spot, fan_out_spots
from bench.options import Options

FANOUT: Final = "fanout"
DIRECT: Final = "direct"
HANDSHAKE: Final = "handshake"
IDLE: Final = "idle"
DURABLE: Final = "durable"
STORMS: Final = "storms"
DIMENSIONS: Final = (FANOUT, DIRECT, HANDSHAKE, IDLE, DURABLE, STORMS)
QUICK_DIMENSIONS: Final = (FANOUT, DIRECT, HANDSHAKE, IDLE, DURABLE)
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
    crowds: tuple[int, ...] = (1_000, 5_000, 10_000)
    idle_window: float = 30.0
    """Longer than a heartbeat of any server here."""
    tls_crowds: tuple[int, ...] = (1_000,)


QUICK: Final = Pace(
    rounds=1,
    warm_up=0.2,
    window=0.8,
    sizes=(HEADLINE,),
    handshakes=300,
    crowds=(10_000,),
    idle_window=1.5,
    tls_crowds=(),
)


class Step(Struct, frozen=True, kw_only=True):
    """One server, started for one measurement."""

    dimension: str
    entry: Entry
    tls: bool
    spots: tuple[Spot, ...] = ()
    handshakes: int = 0
    crowds: tuple[int, ...] = ()
    planned: float
    """Seconds."""

    @property
    def text(self) -> str:
        """What it is, in words."""
        where = f"{self.entry.title}{', TLS' * self.tls}"
        match self.dimension:
            case "handshake":
                return f"{where}: {self.handshakes} handshakes"
            case "idle":
                return f"{where}: {', '.join(f'{each:,}' for each in self.crowds)} idle connections"
            case _:
                return f"{where}: {_sizes(self.spots)}"


def _connects(entry: Entry) -> int:
    """Return how many come in a second."""
    return 1_100 if entry.name == VARDE else 4_000


def pace_of(options: Options) -> Pace:
    """Return how a run with these options measures."""
    return QUICK if options.quick else Pace(rounds=options.rounds)


def steps_of(pace: Pace, entries: Sequence[Entry], wanted: Sequence[str], *, tls: bool) -> list[Step]:
    """Return the steps of a run over these servers, for the dimensions that are wanted, plain and with TLS."""
    steps: list[Step] = []
    for _ in range(pace.rounds):
        for entry in entries:
            steps += _round(pace, entry, wanted, tls=False)
            if tls and entry.tls:
                steps += _round(pace, entry, wanted, tls=True)
    for entry in entries if IDLE in wanted else ():
        steps.append(_idle(pace, entry, pace.crowds, tls=False))
        if tls and entry.tls and pace.tls_crowds:
            steps.append(_idle(pace, entry, pace.tls_crowds, tls=True))
    return steps


def _round(pace: Pace, entry: Entry, wanted: Sequence[str], *, tls: bool) -> Iterator[Step]:
    spots = fan_out_spots((HEADLINE,) if tls else pace.sizes) if FANOUT in wanted else []
    calm = [spot for spot in spots if spot.load == LIGHT] + [DIRECT_SPOT] * (DIRECT in wanted)
    if calm:
        yield _live(pace, entry, tuple(calm), tls=tls)
    for spot in spots:
        if spot.load == SATURATED:  # each on its own: what a saturated server has not done yet shall burden nobody
            yield _live(pace, entry, (spot,), tls=tls)
    if HANDSHAKE in wanted:
        seconds = _START + pace.handshakes * (2 if entry.name == VARDE else 1) / _connects(entry)
        yield Step(dimension=HANDSHAKE, entry=entry, tls=tls, handshakes=pace.handshakes, planned=seconds)


def _live(pace: Pace, entry: Entry, spots: tuple[Spot, ...], *, tls: bool) -> Step:
    seconds = _START + len(spots) * (pace.warm_up + pace.window + 0.3)
    return Step(dimension=FANOUT, entry=entry, tls=tls, spots=spots, planned=seconds)


def _idle(pace: Pace, entry: Entry, crowds: tuple[int, ...], *, tls: bool) -> Step:
    seconds = _START + max(crowds) / _connects(entry) + len(crowds) + pace.idle_window
    return Step(dimension=IDLE, entry=entry, tls=tls, crowds=crowds, planned=seconds)


def _sizes(spots: Sequence[Spot]) -> str:
    sizes = sorted({spot.size for spot in spots if spot is not DIRECT_SPOT})
    loads = sorted({spot.load for spot in spots})
    return f"{', '.join(loads)}" + f", rooms of {', '.join(map(str, sizes))}" * bool(sizes)
