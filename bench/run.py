"""A run from its first step to its last: each measured figure is in the results before the next step begins."""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from bench import dimensions
from bench.clients import MeasuredServer, Workplace, open_measured_server
from bench.connections import quiet_collector
from bench.dimensions import DIRECT, FANOUT, HANDSHAKE, HEADLINE, IDLE, LOADS, PAIR, ROOM, WARM_UP, Spot
from bench.results import FAULTS, Point, Results, Tree, rounded
from bench.server import CATALOGUE, VARDE, Entry, Missing, choose_cores, install
from loadtest.stack.certificate import make_certificate
from loadtest.stack.rooms import Plan, forget_keys
from loadtest.watch.machine import fingerprint

DIMENSIONS: Final = (FANOUT, DIRECT, HANDSHAKE, IDLE, "durable", "transparency", "storms")
QUICK_DIMENSIONS: Final = DIMENSIONS[:-1]  # a storm that is over in seconds says nothing
QUICK_SERVERS: Final = (VARDE, "picows")
FILES: Final = 12_000  # that the load and a server each may open
ENTRIES: Final = 1_000_000  # of the transparency log, which take about a minute
QUICK_ENTRIES: Final = 20_000
_LOG_SECONDS: Final = 900
PACKAGES: Final = "cryptography msgspec picows starlette trio trio-websocket uvicorn uvloop websockets"

POINT_OF: Final[dict[str, Callable[[tuple[str, ...], Sequence[Any]], Point]]] = {
    **dict.fromkeys((FANOUT, DIRECT), dimensions.point_of_windows),
    HANDSHAKE: dimensions.point_of_rounds,
    IDLE: lambda _, rounds: rounds[-1],
}
"""What goes into the results of several rounds, by place and the figures of each round."""


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

    def attempt(self, words: str, measure: Callable[[], Tree]) -> Tree:
        """Say and return what is measured, or what is `missing` or has `failed`, so that one fault ends no run."""
        self.say(words)
        try:
            return measure()
        except Missing as missing:
            self.say(f"{words}: {missing}")
            return {"missing": str(missing)}
        except FAULTS as fault:
            said = str(fault) or type(fault).__name__
            self.say(f"{words}: failed: {said}")
            return {"failed": said}


class Step(Struct, frozen=True):
    """One server, started with the rooms of `plan` for `measure`: figures by places that begin with the dimension."""

    dimension: str
    entry: Entry
    tls: bool
    words: str
    plan: Plan
    measure: Callable[[MeasuredServer], dict[tuple[str, ...], Any]]


def steps_of(pace: Pace, entries: Sequence[Entry], wanted: Sequence[str], *, tls: bool) -> list[Step]:
    """Return the steps of a run over these servers, for the dimensions that are wanted, plain and with TLS.

    Rounds are outermost, so that a machine that becomes slower meets all servers alike.
    """
    ways = [(entry, secure) for entry in entries for secure in (False, True) if not secure or (tls and entry.encrypted)]
    steps = [step for _ in range(pace.rounds) for way in ways for step in _round(pace, wanted, *way)]
    return steps + [step for way in ways if IDLE in wanted for step in _idle(pace, *way)]


def _round(pace: Pace, wanted: Sequence[str], entry: Entry, tls: bool) -> Iterator[Step]:  # noqa: FBT001 - one of the ways
    sizes = () if FANOUT not in wanted else (HEADLINE,) if tls else pace.sizes
    spots = [Spot(load, size) for size in sizes for load in LOADS] + [Spot(DIRECT, PAIR)] * (DIRECT in wanted)
    for spot in spots:
        measure = partial(dimensions.measure_spot, spot=spot, pace=(pace.warm_up, pace.window))
        yield Step(spot.place[0], entry, tls, spot.words, spot.plan, measure)
    if HANDSHAKE in wanted:
        count = pace.handshakes
        words, plan = f"{count} handshakes", Plan(f"{-(-(WARM_UP + 2 * count) // ROOM)}x{ROOM}")
        connect = partial(dimensions.measure_handshakes, count=count)
        yield Step(HANDSHAKE, entry, tls, words, plan, connect)


def _idle(pace: Pace, entry: Entry, tls: bool) -> Iterator[Step]:  # noqa: FBT001 - one of the ways
    if counts := pace.tls_idle if tls else pace.idle:
        words = f"{', '.join(f'{each:,}' for each in counts)} idle connections"
        plan = Plan(f"{max(counts) // ROOM}x{ROOM}")
        measure = partial(dimensions.measure_idle, steps=counts, window=pace.idle_window)
        yield Step(IDLE, entry, tls, words, plan, measure)


class Run:
    """Takes the steps and keeps what they give."""

    def __init__(self, options: Options, results: Results) -> None:
        self._options, self._results = options, results
        folder = (options.output / "bench").resolve()
        self._workplace = Workplace(choose_cores(), folder, make_certificate(folder))
        self._rounds: defaultdict[tuple[str, ...], list[Any]] = defaultdict(list)

    def measure(self, wanted: Sequence[str]) -> None:
        """Measure these dimensions. Raises KeyboardInterrupt as it comes; what was measured is kept."""
        options = self._options
        self._prepare()
        steps = steps_of(options.pace, list(self._entries()), wanted, tls=options.tls and not options.quick)
        began = time.monotonic()
        for number, step in enumerate(steps):
            # As if the others took as long as those so far: rounds, the outermost loop, are alike.
            left = f", {(len(steps) - number) * (time.monotonic() - began) / number:.0f} s left" if number else ""
            text = f"{step.entry.title}{', TLS' * step.tls}: {step.words}"
            options.say(f"[{number + 1}/{len(steps)}{left}] {text}")
            self._take(step, text)

    def _prepare(self) -> None:
        options, pinned = self._options, self._workplace.cores[0] is not None
        forget_keys(self._workplace.folder)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        if most != resource.RLIM_INFINITY and most < FILES:
            options.say(f"only {most} files may be open here: 10,000 connections will fail (ulimit -n)")
        if not pinned:
            options.say("one core only: server and load share it, and figures will be poor")
        self._results.put("machine", value=describe_machine())
        run = {"quick": options.quick, "rounds": options.pace.rounds, "complete": False, "pinned": pinned}
        self._results.put("run", value=run)

    def _entries(self) -> Iterator[Entry]:
        options = self._options
        few = options.quick and not options.servers
        for entry in CATALOGUE.values():
            if not options.wants(entry.name) or (few and entry.name not in QUICK_SERVERS):
                continue
            try:
                install(entry, self._workplace.folder)
                yield entry
            except Missing as missing:
                options.say(f"{entry.title} is left out: {missing}")
                self._results.put("missing", entry.name, value=str(missing))

    def _take(self, step: Step, text: str) -> None:
        work, own, way = self._workplace, os.sched_getaffinity(0), ("tls",) if step.tls else ()
        try:
            if work.cores[1] is not None:
                os.sched_setaffinity(0, {work.cores[1]})
            with quiet_collector(), open_measured_server(work, step.entry, step.plan, tls=step.tls) as measured:
                for (dimension, *below), figure in step.measure(measured).items():
                    place = (*way, dimension, step.entry.name, *below)
                    self._rounds[place].append(figure)
                    self._put(place, POINT_OF[dimension]((dimension, *below), self._rounds[place]))
        except FAULTS as fault:
            words = f"{type(fault).__name__}: {fault}"
            self._options.say(f"{text}: failed: {words} (its log: {work.folder / step.entry.name}.log)")
            self._results.put("failed", ".".join((*way, step.dimension, step.entry.name)), value=words)
        finally:
            os.sched_setaffinity(0, own)

    def _put(self, place: tuple[str, ...], point: Point) -> None:
        self._results.put(*place, value=point)
        if FANOUT in place and place[-1] == str(HEADLINE):  # this room stands for its load
            self._results.merge(*place[:-2], value=point)


def describe_machine() -> dict[str, Any]:
    """Return what a run is made on. `commit` ends with `+` when the tree is not as committed."""
    found, node = fingerprint(PACKAGES.split()), shutil.which("node")
    said = subprocess.run((node or "true", "--version"), capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 - constants
    return {
        **{key: found[key] for key in ("cpu", "cores", "memory_gib", "kernel", "python", "packages", "commit")},
        "node": said.stdout.strip() if node else None,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def measure_transparency(options: Options) -> Tree:
    """Return the log's figures. One process that serves nobody is measured, so there are no rounds and no peers."""
    entries = QUICK_ENTRIES if options.quick else ENTRIES

    def measure() -> Tree:
        command = (sys.executable, "-m", "bench.costs", "log", str(entries))
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LOG_SECONDS, check=True)  # noqa: S603 - constants
        figures: dict[str, float] = json.loads(done.stdout)
        return {"entries": figures.pop("entries"), **{name: rounded(value) for name, value in figures.items()}}

    return options.attempt(f"transparency: {entries:,} entries", measure)
