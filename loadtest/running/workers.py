"""The workers as the master knows them: their processes on this machine, what each said last, how hard it works."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TypeAlias

import gevent
import msgspec
from gevent.event import Event

from loadtest.exits import CouldNotRun
from loadtest.ledger.clock import RunClock
from loadtest.ledger.reports import Tick, merge_ticks
from loadtest.report.result import WorkerFigures
from loadtest.running.messages import HEARTBEAT, PING, PONG, PREPARED, Heartbeat
from loadtest.scenarios.plan import Options
from loadtest.stack.process import ROOT, tail_of

CONNECT_SECONDS: Final = 60.0
WINDOW: Final = 5  # readings
_MISSING: Final = "missing"
_GLANCE: Final = 0.1  # seconds between two looks at who is there: a worker that goes missing says nothing
_STOP_SECONDS: Final = 5.0
_Reading: TypeAlias = tuple[int, int]  # the time, and the CPU time so far: nanoseconds


class CpuUsage:
    """How hard a process works, in percent of one core, from a reading of its CPU time each second."""

    def __init__(self) -> None:
        self._readings: list[_Reading] = []
        self._judged: list[list[_Reading]] = []  # of each stretch of judged stages; no window reaches back before one
        self._judging = False

    @property
    def max_percent(self) -> float:
        """Over windows of the judged stages, or their last stretch when all were shorter than a window."""
        windows = [pair for stretch in self._judged for pair in zip(stretch, stretch[WINDOW:], strict=False)]
        return max((_percent(*pair) for pair in windows), default=_percent(*self._judged[-1]) if self._judged else 0.0)

    @property
    def mean_percent(self) -> float:
        """Since the first reading of the run."""
        return _percent(*self._readings)

    @property
    def now_percent(self) -> float:
        """Between the last two readings."""
        return _percent(*self._readings[-2:])

    def begin_stage(self, *, judged: bool) -> None:
        """A stage begins. Judged stages in a row are one stretch."""
        if judged and not self._judging:
            self._judged.append([])
        self._judging = judged

    def add(self, at_ns: int, cpu_ns: int) -> None:
        """One reading of the CPU time, of all cores together."""
        self._readings.append((at_ns, cpu_ns))
        if self._judging:
            self._judged[-1].append((at_ns, cpu_ns))


def _percent(*readings: _Reading) -> float:
    """Between the first and the last one."""
    took = readings[-1][0] - readings[0][0] if readings else 0
    return 100.0 * (readings[-1][1] - readings[0][1]) / took if took > 0 else 0.0


class WorkerState:
    """What is known of a worker in a run."""

    def __init__(self, number: int) -> None:
        self.name = f"worker-{number + 1}"
        self.cpu = CpuUsage()
        self.trouble: str | None = None  # why it is not prepared, or "" when it is
        self.uncertainty_ns = 0  # of its clock, at worst
        self.heartbeat: Heartbeat | None = None  # the last one
        self.ledger: bytes | None = None
        self.connected = 0
        self._tick = Tick()

    def take_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Note what it says each second."""
        self.heartbeat = heartbeat
        self.ledger = heartbeat.ledger or None
        self.uncertainty_ns = max(self.uncertainty_ns, heartbeat.uncertainty_ns)
        self._tick.then(merge_ticks((heartbeat.tick,)))
        self.connected = self._tick.connected
        self.cpu.add(heartbeat.at_ns, heartbeat.cpu_ns)

    def take_tick(self) -> Tick:
        """Return what came since it was asked last; who said nothing is where it was."""
        taken, self._tick = self._tick, Tick(connected=self.connected)
        return taken

    def figures(self) -> WorkerFigures:
        """How it fared."""
        said = self.heartbeat
        return WorkerFigures(
            name=self.name,
            cpu_max_percent=round(self.cpu.max_percent, 1),
            cpu_mean_percent=round(self.cpu.mean_percent, 1),
            rss_mib=0.0 if said is None else round(said.rss_mib, 1),
            late_max_ms=0.0 if said is None else round(said.late_max_ms, 3),
        )


class Workers:
    """All workers that are part of a run. What others say is not heard."""

    def __init__(self, runner: Any, clock: RunClock) -> None:
        """`runner` is Locust's, which knows whose heart beats."""
        self.runner = runner
        self.states: dict[str, WorkerState] = {}
        self._clock = clock
        runner.register_message(PREPARED, self._on_prepared)
        runner.register_message(HEARTBEAT, self._on_heartbeat)
        runner.register_message(PING, self._on_ping)

    def begin_run(self) -> list[str]:
        """Begin anew with those who are there, and return who that is."""
        clients = getattr(self.runner, "clients", None)
        there = ["local"] if clients is None else _in_turn(each.id for each in clients.all if each.state != _MISSING)
        self.states = {client: WorkerState(number) for number, client in enumerate(there)}
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

    def take_tick(self) -> Tick:
        """Return what all of them said since it was asked last, as one."""
        whole = Tick()
        for state in self.states.values():
            whole.beside(state.take_tick())
        return whole

    @property
    def heartbeats(self) -> list[Heartbeat]:
        """The last one of everybody who has sent one."""
        return [state.heartbeat for state in self.states.values() if state.heartbeat is not None]

    @property
    def cpu_percent(self) -> float:
        """Of the busiest one, at present."""
        return max((state.cpu.now_percent for state in self.states.values()), default=0.0)

    @property
    def uncertainty_ns(self) -> int:
        """How uncertain any worker's clock was at worst, in the whole run."""
        return max((state.uncertainty_ns for state in self.states.values()), default=0)

    def _on_prepared(self, msg: Any, **_: Any) -> None:
        if (state := self.states.get(str(msg.node_id))) is not None:
            state.trouble, state.uncertainty_ns = msg.data

    def _on_heartbeat(self, msg: Any, **_: Any) -> None:
        if (state := self.states.get(str(msg.node_id))) is not None:
            state.take_heartbeat(msgspec.msgpack.decode(msg.data, type=Heartbeat))

    def _on_ping(self, msg: Any, **_: Any) -> None:
        self.runner.send_message(PONG, (msg.data, self._clock.now_ns()), msg.node_id)


def _in_turn(clients: Iterable[str]) -> list[str]:
    """Return workers in the order in which Locust assigns users to them: host by host in turn."""
    on_host: Counter[str] = Counter()
    places = []
    for client in sorted(clients):
        host = client.split("_")[0]
        places.append((on_host[host], client))
        on_host[host] += 1
    return [client for _, client in sorted(places)]


class LocalWorkers:
    """Workers as child processes of this one.

    They live in sessions of their own, so that Ctrl-C in a terminal reaches the master alone, and end when it is gone:
    each holds the other end of a pipe.
    """

    def __init__(self, count: int, master: tuple[str, int], crowd: Path, folder: Path) -> None:
        """What they say goes into `folder`."""
        program = (sys.executable, "-m", "loadtest", "worker", "--tethered")
        command = (*program, "--master", f"{master[0]}:{master[1]}", "--crowd", str(crowd))
        self._logs = [folder / f"worker-{number + 1}.log" for number in range(count)]
        self._processes = []
        for log in self._logs:
            with log.open("wb") as output:
                process = subprocess.Popen(  # noqa: S603 - our own program
                    command, cwd=ROOT, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True
                )
                self._processes.append(process)

    def wait_connected(self, runner: Any, options: Options) -> None:
        """Wait until all are at a Locust master; remote ones come when they come. Raises CouldNotRun."""
        end = float("inf") if options.remote else time.monotonic() + CONNECT_SECONDS
        while len(runner.clients.ready) < options.workers:
            for log, process in zip(self._logs, self._processes, strict=True):
                if process.poll() is not None:
                    raise CouldNotRun(f"a worker ended before the run began:\n{tail_of(log)}")
            if time.monotonic() > end:
                raise CouldNotRun(f"{options.workers} workers did not come within {CONNECT_SECONDS:g} s")
            gevent.sleep(_GLANCE)

    def stop(self) -> None:
        """End those that have not ended."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()  # without a deadline: nothing survives SIGKILL
