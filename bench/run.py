"""A run from its first step to its last: each measured figure is in the results before the next step begins."""

import os
import resource
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from cryptography.exceptions import InvalidTag

from bench import fanout, handshakes, idle
from bench.catalogue import CATALOGUE, Entry, missing
from bench.connections import quiet_collector
from bench.durable.measure import measure as measure_durable
from bench.fanout import DIRECT_SPOT, HEADLINE, Spot, Window
from bench.keys import forget_keys
from bench.machine import describe_machine
from bench.measured_server import MeasuredServer, Workplace, open_measured_server
from bench.process import NoServer, choose_cores
from bench.results import Results
from bench.steps import DIRECT, DURABLE, FANOUT, HANDSHAKE, IDLE, QUICK_SERVERS, STORMS, Options, Step, steps_of
from bench.storms import measure_storms
from loadtest.client.websocket import ServerFault
from loadtest.stack.certificate import make_certificate
from varde_contract.errors import PeerFault

TLS: Final = "tls"
FILES: Final = 12_000
"""That the load and a server each may open."""
_EXPECTED: Final = (ServerFault, NoServer, OSError, InvalidTag, PeerFault)
"""How a server can fail a measurement; what is said is kept in the results."""


class Run:
    """Takes the steps and keeps what they give."""

    def __init__(self, options: Options, results: Results) -> None:
        self._options, self._results, self._pace = options, results, options.pace
        folder = (options.output / "bench").resolve()
        self._workplace = Workplace(choose_cores(), folder, make_certificate(folder))
        self._windows: defaultdict[tuple[bool, str, Spot], list[Window]] = defaultdict(list)
        self._handshakes: defaultdict[tuple[bool, str], list[dict[str, float]]] = defaultdict(list)

    def measure(self, wanted: Sequence[str]) -> None:
        """Measure these dimensions. Raises KeyboardInterrupt as it comes; what was measured is kept."""
        options, results = self._options, self._results
        self._prepare()
        steps = steps_of(self._pace, self._entries(), wanted, tls=options.tls and not options.quick)
        planned, done, began = max(1.0, sum(step.planned for step in steps)), 0.0, time.monotonic()
        for step in steps:
            # What is left is corrected by how the steps so far kept to their plan.
            left = (planned - done) * ((time.monotonic() - began) / done if done else 1.0)
            options.say(f"[{min(99, 100 * done / planned):3.0f} %, {left:4.0f} s left] {step.text}")
            self._take(step)
            done += step.planned
        if DURABLE in wanted:
            results.merge(DURABLE, value=measure_durable(options))
        if STORMS in wanted:
            results.merge(value=measure_storms(options))
        results.put("run", "complete", value=True)

    def _prepare(self) -> None:
        forget_keys(self._workplace.folder)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        if most != resource.RLIM_INFINITY and most < FILES:
            self._options.say(f"only {most} files may be open here: 10,000 connections will fail (ulimit -n)")
        pinned = self._workplace.cores.server is not None
        if not pinned:
            self._options.say("one core only: server and load share it, and figures will be poor")
        self._results.put("machine", value=describe_machine())
        run = {"quick": self._options.quick, "rounds": self._pace.rounds, "complete": False, "pinned": pinned}
        self._results.put("run", value=run)

    def _entries(self) -> list[Entry]:
        """Return the servers that can be run here; the others are noted as missing."""
        options, there = self._options, []
        for entry in CATALOGUE.values():
            if not options.wants(entry.name) or (
                options.quick and not options.servers and entry.name not in QUICK_SERVERS
            ):
                continue
            lacking = missing(entry, self._workplace.folder)
            if lacking is None:
                there.append(entry)
            else:
                options.say(f"{entry.title} is left out: {lacking}")
                self._results.put("missing", entry.name, value=lacking)
        return there

    def _take(self, step: Step) -> None:
        work = self._workplace
        try:
            with (
                _undisturbed(work.cores.generator),
                open_measured_server(work, step.entry, step.plan, tls=step.tls) as measured,
            ):
                self._measure(measured, step)
        except _EXPECTED as fault:
            text = f"{type(fault).__name__}: {fault}"
            self._options.say(f"{step.text}: failed: {text} (its log: {work.folder / step.entry.name}.log)")
            where = f"{TLS + '.' if step.tls else ''}{step.dimension}.{step.entry.name}"
            self._results.put("failed", where, value=text)

    def _measure(self, measured: MeasuredServer, step: Step) -> None:
        name = step.entry.name
        if step.handshakes:
            rounds = self._handshakes[step.tls, name]
            rounds.append(handshakes.measure_handshakes(measured, step.handshakes))
            self._put(step, HANDSHAKE, name, value=handshakes.handshake_point(rounds))
        elif step.idle:
            self._put(step, IDLE, name, value=idle.measure_idle(measured, step.idle, window=self._pace.idle_window))
        else:
            pace = self._pace
            windows = fanout.measure_spots(measured, step.spots, warm_up=pace.warm_up, seconds=pace.window)
            for spot, window in windows.items():
                self._keep(step, spot, window)

    def _keep(self, step: Step, spot: Spot, window: Window) -> None:
        name, rounds = step.entry.name, self._windows[step.tls, step.entry.name, spot]
        rounds.append(window)
        if spot == DIRECT_SPOT:
            self._put(step, DIRECT, name, value=fanout.direct_point(rounds))
            return
        point: dict[str, Any] = fanout.fan_out_point(spot, rounds)
        self._put(step, FANOUT, name, spot.load, "rooms", str(spot.size), value=point)
        if spot.size == HEADLINE:
            for key, value in point.items():
                self._put(step, FANOUT, name, spot.load, key, value=value)

    def _put(self, step: Step, *names: str, value: object) -> None:
        self._results.put(*([TLS] if step.tls else []), *names, value=value)


@contextmanager
def _undisturbed(core: int | None) -> Iterator[None]:
    """Let this process run on its core, and keep the collector from interrupting it."""
    own = os.sched_getaffinity(0)
    try:
        if core is not None:
            os.sched_setaffinity(0, {core})
        with quiet_collector():
            yield
    finally:
        os.sched_setaffinity(0, own)
