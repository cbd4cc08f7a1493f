"""A run from its first step to its last: each measured figure is in the results before the next step begins."""

import gc
import importlib
import os
import resource
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from cryptography.exceptions import InvalidTag

from bench import handshakes, idle, live
from bench.catalogue import CATALOGUE, Entry, missing
from bench.driving import Window
from bench.handshakes import Handshakes
from bench.hosting import NoServer
from bench.live import DIRECT_SPOT, HEADLINE, Spot
from bench.machine import describe_machine
from bench.measuring import choose_cores
from bench.options import Options
from bench.plan import Plan
from bench.progress import Progress
from bench.results import Results
from bench.schedule import (
    DIRECT,
    DURABLE,
    FANOUT,
    HANDSHAKE,
    IDLE,
    QUICK_SERVERS,
    STORMS,
    Pace,
    Step,
    pace_of,
    steps_of,
)
from bench.stage import Stage, Workshop, open_stage
from loadtest.client.websocket import ServerFault
from loadtest.stack.certificate import make_certificate
from varde_contract.errors import PeerFault

TLS: Final = "tls"
FILES: Final = 12_000
"""That the generator and a server each may open."""
_EXPECTED: Final = (ServerFault, NoServer, OSError, InvalidTag, PeerFault)
"""How a server can fail a measurement; what is said is kept in the results."""
_OTHERS: Final = {DURABLE: "bench.durable", STORMS: "bench.storms"}
"""Measurements with a generator of their own: each has `measure(options)`, which returns a tree of figures."""


class Conductor:
    """Runs the steps and keeps what they give."""

    def __init__(self, options: Options, results: Results) -> None:
        self._options = options
        self._results = results
        folder = options.output / "bench"
        self._workshop = Workshop(choose_cores(), folder.resolve(), make_certificate(folder.resolve()))
        self._windows: defaultdict[tuple[bool, str, Spot], list[Window]] = defaultdict(list)
        self._handshakes: defaultdict[tuple[bool, str], list[dict[str, Handshakes]]] = defaultdict(list)

    def run(self, wanted: Sequence[str]) -> None:
        """Measure these dimensions. Raises KeyboardInterrupt as it comes; what was measured is kept."""
        self._prepare()
        pace = pace_of(self._options)
        steps = steps_of(pace, self._entries(), wanted, tls=self._options.tls and not self._options.quick)
        progress = Progress(sum(step.planned for step in steps), self._options.say)
        for step in steps:
            progress.step(step.text, step.planned)
            self._measure(step, pace)
        self._call_others(wanted)
        self._results.put("run", "complete", value=True)

    def _prepare(self) -> None:
        for old in self._workshop.folder.glob("*.msgpack"):
            old.unlink()  # tickets last for a day
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        if most != resource.RLIM_INFINITY and most < FILES:
            self._options.say(f"only {most} files may be open here: crowds of 10,000 will fail (ulimit -n)")
        self._results.put("machine", value=describe_machine())
        rounds = pace_of(self._options).rounds
        self._results.put("run", value={"quick": self._options.quick, "rounds": rounds, "complete": False})
        if self._workshop.cores.server is None:
            self._options.say("one core only: server and generator share it, and figures will be poor")
        self._results.put("run", "pinned", value=self._workshop.cores.server is not None)

    def _entries(self) -> list[Entry]:
        """Return the servers that can be run here; the others are noted as missing."""
        asked = [entry for entry in CATALOGUE if self._options.wants(entry.name)]
        if self._options.quick and not self._options.servers:
            asked = [entry for entry in asked if entry.name in QUICK_SERVERS]
        there = []
        for entry in asked:
            lacking = missing(entry, self._workshop.folder)
            if lacking is None:
                there.append(entry)
            else:
                self._options.say(f"{entry.title} is left out: {lacking}")
                self._results.put("missing", entry.name, value=lacking)
        return there

    def _measure(self, step: Step, pace: Pace) -> None:
        plan, cores = _plan_of(step), self._workshop.cores
        try:
            with _undisturbed(cores.generator), open_stage(self._workshop, step.entry, plan, tls=step.tls) as stage:
                self._measure_on(stage, step, pace)
        except _EXPECTED as fault:
            text = f"{type(fault).__name__}: {fault}"
            self._options.say(f"{step.text}: failed: {text} (its log: {self._workshop.folder / step.entry.name}.log)")
            where = f"{TLS + '.' if step.tls else ''}{step.dimension}.{step.entry.name}"
            self._results.put("failed", where, value=text)

    def _measure_on(self, stage: Stage, step: Step, pace: Pace) -> None:
        match step.dimension:
            case "handshake":
                rounds = self._handshakes[step.tls, step.entry.name]
                rounds.append(handshakes.measure_handshakes(stage, step.handshakes))
                self._put(step, HANDSHAKE, step.entry.name, value=handshakes.handshake_point(rounds))
            case "idle":
                point = idle.measure_idle(stage, step.crowds, window=pace.idle_window)
                self._put(step, IDLE, step.entry.name, value=point)
            case _:
                windows = live.measure_spots(stage, step.spots, warm_up=pace.warm_up, seconds=pace.window)
                for spot, window in windows.items():
                    self._keep(step, spot, window)

    def _keep(self, step: Step, spot: Spot, window: Window) -> None:
        name, rounds = step.entry.name, self._windows[step.tls, step.entry.name, spot]
        rounds.append(window)
        if spot == DIRECT_SPOT:
            self._put(step, DIRECT, name, value=live.direct_point(rounds))
            return
        point = live.fan_out_point(spot, rounds)
        self._put(step, FANOUT, name, spot.load, "rooms", str(spot.size), value=point)
        if spot.size == HEADLINE:
            for key, value in point.items():
                self._put(step, FANOUT, name, spot.load, key, value=value)

    def _put(self, step: Step, *names: str, value: object) -> None:
        self._results.put(*([TLS] if step.tls else []), *names, value=value)

    def _call_others(self, wanted: Sequence[str]) -> None:
        for dimension, module in _OTHERS.items():
            if dimension not in wanted:
                continue
            try:
                measure = importlib.import_module(module).measure
            except (ImportError, AttributeError) as fault:
                self._results.put("missing", dimension, value=f"{module} cannot be used: {fault}")
                continue
            self._options.say(f"{dimension}: measured by {module}")
            self._results.merge(*([DURABLE] if dimension == DURABLE else []), value=measure(self._options))


def _plan_of(step: Step) -> Plan:
    match step.dimension:
        case "handshake":
            return handshakes.plan_for(step.handshakes)
        case "idle":
            return idle.plan_for(step.crowds)
        case _:
            return live.plan_for(step.spots)


@contextmanager
def _undisturbed(core: int | None) -> Iterator[None]:
    """Let this process run on its core, and keep the collector from interrupting it."""
    own = os.sched_getaffinity(0)
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        if core is not None:
            os.sched_setaffinity(0, {core})
        yield
    finally:
        os.sched_setaffinity(0, own)
        gc.enable()
        gc.unfreeze()
