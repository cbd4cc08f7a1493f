"""The workers as the master knows them: their processes on this machine, what each said last, how hard it works."""

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby, zip_longest
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, TypeAlias

import gevent
import msgspec
from gevent.event import Event
from msgspec import Struct, field

from loadtest.exits import CouldNotRun
from loadtest.ledger.reports import Totals, read
from loadtest.ledger.run_time import RunClock
from loadtest.report.result import WorkerFigures
from loadtest.running.messages import HEARTBEAT, PING, PONG, PREPARED, Heartbeat
from loadtest.scenarios.plan import Options
from loadtest.stack.process import open_program, tail_of

CONNECT_SECONDS: Final = 60.0
WINDOW: Final = 5  # readings, a second apart: one busy second is no bottleneck
_MISSING: Final = "missing"
_GLANCE: Final = 0.1  # seconds between two looks at who is there: a worker that goes missing says nothing
_STOP_SECONDS: Final = 5.0
Reading: TypeAlias = tuple[int, int, bool]
"""The time, and the CPU time so far of all cores together, in nanoseconds; whether the stage is judged."""


def cpu_percent(readings: Sequence[Reading]) -> float:
    """Return percent of one core between the first reading and the last one."""
    took = readings[-1][0] - readings[0][0] if readings else 0
    return 100.0 * (readings[-1][1] - readings[0][1]) / took if took > 0 else 0.0


def cpu_max_percent(readings: Sequence[Reading]) -> float:
    """Return the most over any window within judged stages in a row, or over the last such when all are shorter."""
    stretches = [list(stretch) for judged, stretch in groupby(readings, itemgetter(2)) if judged]
    windows = [stretch[at : at + WINDOW + 1] for stretch in stretches for at in range(len(stretch) - WINDOW)]
    return max(map(cpu_percent, windows or stretches[-1:]), default=0.0)


class WorkerState(Struct):
    """What is known of a worker in a run."""

    name: str
    trouble: str | None = None  # why it is not prepared, or "" when it is
    uncertainty_ns: int = 0  # of its clock, at worst
    heartbeat: Heartbeat = Heartbeat()  # the last one
    ledger: bytes | None = None
    readings: list[Reading] = field(default_factory=list)

    def figures(self) -> WorkerFigures:
        """How it fared."""
        return WorkerFigures(
            name=self.name,
            cpu_max_percent=round(cpu_max_percent(self.readings), 1),
            cpu_mean_percent=round(cpu_percent(self.readings), 1),
            rss_mib=round(self.heartbeat.rss_mib, 1),
            late_max_ms=round(self.heartbeat.late_max_ms, 3),
        )


class Workers:
    """All workers that are part of a run. What others say is not heard."""

    def __init__(self, runner: Any, clock: RunClock) -> None:
        """`runner` is Locust's, which knows whose heart beats."""
        self.runner = runner
        self.states: dict[str, WorkerState] = {}
        self.totals, self._second = Totals(), Totals()  # what all of them said in the run, and since `take`
        self.judging = False  # whether the present stage is judged
        self._clock = clock
        runner.register_message(PREPARED, self._on_prepared)
        runner.register_message(HEARTBEAT, self._on_heartbeat)
        runner.register_message(PING, self._on_ping)

    def begin_run(self) -> list[str]:
        """Begin anew with those who are there, and return who that is, in the order in which Locust assigns users."""
        clients, there = getattr(self.runner, "clients", None), ["local"]
        if clients is not None:
            hosts = defaultdict[str, list[str]](list)
            for client in sorted(each.id for each in clients.all if each.state != _MISSING):
                hosts[client.split("_")[0]].append(client)
            there = [client for turn in zip_longest(*hosts.values()) for client in turn if client is not None]
        self.states = {client: WorkerState(f"worker-{number}") for number, client in enumerate(there, 1)}
        self.totals, self._second = Totals(), Totals()
        return there

    def missing(self) -> int:
        """Count those who have gone."""
        return sum(map(self._is_missing, self.states))

    def wait_until_all(self, done: str, seconds: float, give_up: Event | None = None) -> bool:
        """Wait until a field is set of every worker who is still there. Returns whether it is of all."""
        with gevent.Timeout(seconds, False):
            while not (give_up is not None and give_up.is_set()):
                silent = [client for client, state in self.states.items() if getattr(state, done) is None]
                if not silent:
                    return True
                if all(map(self._is_missing, silent)):
                    return False
                gevent.sleep(_GLANCE)
        return False

    def _is_missing(self, client: str) -> bool:
        clients = getattr(self.runner, "clients", None)
        return clients is not None and (client not in clients or clients[client].state == _MISSING)

    def take(self) -> Totals:
        """Return what all of them said since it was asked last, as one."""
        second, self._second = self._second, Totals()
        return second

    @property
    def heartbeats(self) -> list[Heartbeat]:
        """The last one of everybody."""
        return [state.heartbeat for state in self.states.values()]

    @property
    def uncertainty_ns(self) -> int:
        """How uncertain any worker's clock was at worst, in the whole run."""
        return max((state.uncertainty_ns for state in self.states.values()), default=0)

    def _on_prepared(self, msg: Any, **_: Any) -> None:
        if (state := self.states.get(str(msg.node_id))) is not None:
            state.trouble, state.uncertainty_ns = msg.data

    def _on_heartbeat(self, msg: Any, **_: Any) -> None:
        # A worker that came after the run had begun has no seats in it, and what it says is not counted.
        if (state := self.states.get(str(msg.node_id))) is not None:
            state.heartbeat = said = msgspec.msgpack.decode(msg.data, type=Heartbeat)
            state.ledger = said.ledger or None
            state.uncertainty_ns = max(state.uncertainty_ns, said.uncertainty_ns)
            state.readings.append((said.at_ns, said.cpu_ns, self.judging))
            for totals in (self.totals, self._second):
                totals.merge(read(said.tick, Totals))

    def _on_ping(self, msg: Any, **_: Any) -> None:
        self.runner.send_message(PONG, (msg.data, self._clock.now_ns()), msg.node_id)


@contextmanager
def open_workers(runner: Any, options: Options, address: tuple[str, int], crowd: Path, logs: Path) -> Iterator[None]:
    """Have as many workers as the options say at a Locust master: child processes, or remote ones when they come.

    What ours say goes into the folder `logs`. Raises CouldNotRun.
    """
    program = (sys.executable, "-m", "loadtest", "worker", "--tethered")
    command = (*program, "--master", f"{address[0]}:{address[1]}", "--crowd", str(crowd))
    ours = [logs / f"worker-{number + 1}.log" for number in range(0 if options.remote else options.workers)]
    end = float("inf") if options.remote else time.monotonic() + CONNECT_SECONDS
    with ExitStack() as opened:
        programs = [open_program(command, _STOP_SECONDS, log=log, stdin=subprocess.PIPE) for log in ours]
        processes = [opened.enter_context(program) for program in programs]
        while len(runner.clients.ready) < options.workers:
            for log, process in zip(ours, processes, strict=True):
                if process.poll() is not None:
                    raise CouldNotRun(f"a worker ended before the run began:\n{tail_of(log)}")
            if time.monotonic() > end:
                raise CouldNotRun(f"{options.workers} workers did not come within {CONNECT_SECONDS:g} s")
            gevent.sleep(_GLANCE)
        yield
