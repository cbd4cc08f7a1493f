"""A run from its first step to its last: each measured figure is in the results before the next step begins."""

import os
import resource
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.exceptions import InvalidTag

from bench.catalogue import CATALOGUE, Entry, missing
from bench.connections import quiet_collector
from bench.durable.measure import measure as measure_durable
from bench.fanout import FANOUT, HEADLINE
from bench.keys import forget_keys
from bench.measured_server import Workplace, open_measured_server
from bench.process import NoServer, choose_cores
from bench.results import Results
from bench.steps import QUICK_SERVERS, Options, Step, steps_of
from bench.storms import measure_storms
from loadtest.client.websocket import ServerFault
from loadtest.stack.certificate import make_certificate
from loadtest.watch.fingerprint import fingerprint
from varde_contract.errors import PeerFault

FILES: Final = 12_000  # that the load and a server each may open
PACKAGES: Final = (
    *("cryptography", "msgspec", "picows", "starlette", "trio", "trio-websocket", "uvicorn", "uvloop", "websockets"),
)
_EXPECTED: Final = (ServerFault, NoServer, OSError, InvalidTag, PeerFault)
"""How a server can fail a measurement; what is said is kept in the results."""


class Run:
    """Takes the steps and keeps what they give."""

    def __init__(self, options: Options, results: Results) -> None:
        self._options, self._results = options, results
        folder = (options.output / "bench").resolve()
        self._workplace = Workplace(choose_cores(), folder, make_certificate(folder))
        self._rounds: defaultdict[tuple[str, ...], list[Any]] = defaultdict(list)

    def measure(self, wanted: Sequence[str]) -> None:
        """Measure these dimensions. Raises KeyboardInterrupt as it comes; what was measured is kept."""
        options, results = self._options, self._results
        self._prepare()
        steps = steps_of(options.pace, self._entries(), wanted, tls=options.tls and not options.quick)
        planned, done, began = max(1.0, sum(step.planned for step in steps)), 0.0, time.monotonic()
        for step in steps:
            # What is left is corrected by how the steps so far kept to their plan.
            left = (planned - done) * ((time.monotonic() - began) / done if done else 1.0)
            options.say(f"[{min(99, 100 * done / planned):3.0f} %, {left:4.0f} s left] {step.text}")
            self._take(step)
            done += step.planned
        if "durable" in wanted:
            results.merge("durable", value=measure_durable(options))
        if "storms" in wanted:
            results.merge(value=measure_storms(options))
        results.put("run", "complete", value=True)

    def _prepare(self) -> None:
        forget_keys(self._workplace.folder)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        if most != resource.RLIM_INFINITY and most < FILES:
            self._options.say(f"only {most} files may be open here: 10,000 connections will fail (ulimit -n)")
        pinned = self._workplace.cores[0] is not None
        if not pinned:
            self._options.say("one core only: server and load share it, and figures will be poor")
        self._results.put("machine", value=describe_machine())
        run = {"quick": self._options.quick, "rounds": self._options.pace.rounds, "complete": False, "pinned": pinned}
        self._results.put("run", value=run)

    def _entries(self) -> list[Entry]:
        """Return the servers that can be run here; the others are noted as missing."""
        options, there = self._options, []
        few = options.quick and not options.servers
        for entry in CATALOGUE.values():
            if not options.wants(entry.name) or (few and entry.name not in QUICK_SERVERS):
                continue
            lacking = missing(entry, self._workplace.folder)
            if lacking is None:
                there.append(entry)
            else:
                options.say(f"{entry.title} is left out: {lacking}")
                self._results.put("missing", entry.name, value=lacking)
        return there

    def _take(self, step: Step) -> None:
        work, own, way = self._workplace, os.sched_getaffinity(0), ("tls",) if step.tls else ()
        try:
            if work.cores[1] is not None:
                os.sched_setaffinity(0, {work.cores[1]})
            with quiet_collector(), open_measured_server(work, step.entry, step.plan, tls=step.tls) as measured:
                for (dimension, *below), figure in step.measure(measured).items():
                    place = (*way, dimension, step.entry.name, *below)
                    self._rounds[place].append(figure)
                    self._put(place, step.point_of((dimension, *below), self._rounds[place]))
        except _EXPECTED as fault:
            text = f"{type(fault).__name__}: {fault}"
            self._options.say(f"{step.text}: failed: {text} (its log: {work.folder / step.entry.name}.log)")
            self._results.put("failed", ".".join((*way, step.dimension, step.entry.name)), value=text)
        finally:
            os.sched_setaffinity(0, own)

    def _put(self, place: tuple[str, ...], point: dict[str, Any]) -> None:
        self._results.put(*place, value=point)
        if FANOUT in place and place[-1] == str(HEADLINE):  # this room stands for its load
            self._results.merge(*place[:-2], value=point)


def describe_machine() -> dict[str, Any]:
    """Return what a run is made on. `commit` ends with `+` when the tree is not as committed."""
    found, node = fingerprint(PACKAGES), shutil.which("node")
    said = subprocess.run((node or "true", "--version"), capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 - constants
    return {
        **{key: found[key] for key in ("cpu", "cores", "memory_gib", "kernel", "python", "packages", "commit")},
        "node": said.stdout.strip() if node else None,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
