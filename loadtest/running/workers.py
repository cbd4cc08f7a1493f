"""The workers as the master knows them: their processes on this machine, what each said last, how hard it works."""

import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import gevent
from gevent.event import Event

from loadtest.command.exits import CouldNotRun
from loadtest.ledger.clock import RunClock
from loadtest.ledger.reports import Tick, merge_ticks
from loadtest.report.result import WorkerFigures
from loadtest.running.messages import Channel, Heartbeat, Ping, Pong, Prepared, Report
from loadtest.running.options import Options
from loadtest.stack.process import ROOT, tail_of

CONNECT_SECONDS: Final = 60.0
WINDOW_NS: Final = 5_000_000_000
_WHOLE_NS: Final = 4_500_000_000
"""Readings come once a second, and not to the millisecond: from here on a window counts as whole."""
_MISSING: Final = "missing"
_GLANCE: Final = 0.1  # seconds between two looks at who is there: somebody who goes missing says nothing
_STOP_SECONDS: Final = 5.0


class CpuUsage:
    """How hard a process works: percent of one core over windows of five seconds, from its CPU time as it grows."""

    def __init__(self) -> None:
        self._first: tuple[int, int] | None = None
        self._last = (0, 0)
        self._judged: deque[tuple[int, int]] = deque()
        self._judging = False
        self._most: float | None = None
        self.now_percent = 0.0  # between the last two readings

    @property
    def max_percent(self) -> float:
        """Over the judged stages: of whole windows, or of all there is when they were shorter than one."""
        if self._most is not None or not self._judged:
            return self._most or 0.0
        return _percent(self._judged[0], self._judged[-1])

    @property
    def mean_percent(self) -> float:
        """Since the first reading of the run."""
        return 0.0 if self._first is None else _percent(self._first, self._last)

    def begin_stage(self, *, judged: bool) -> None:
        """A stage begins. Judged stages in a row are one, and no window reaches back before them."""
        if judged and not self._judging:
            self._judged.clear()
        self._judging = judged

    def add(self, at_ns: int, cpu_ns: int) -> None:
        """One reading of the CPU time, of all cores together."""
        reading = (at_ns, cpu_ns)
        if self._first is None:
            self._first = reading
        else:
            self.now_percent = _percent(self._last, reading)
        self._last = reading
        if not self._judging:
            return
        self._judged.append(reading)
        while len(self._judged) > 1 and at_ns - self._judged[1][0] >= WINDOW_NS:
            self._judged.popleft()
        if at_ns - self._judged[0][0] >= _WHOLE_NS:
            self._most = max(self._most or 0.0, _percent(self._judged[0], reading))


def _percent(since: tuple[int, int], until: tuple[int, int]) -> float:
    took = until[0] - since[0]
    return 100.0 * (until[1] - since[1]) / took if took > 0 else 0.0


class WorkerState:
    """One of them."""

    def __init__(self, number: int) -> None:
        self.name = f"worker-{number + 1}"
        self.cpu = CpuUsage()
        self.prepared: Prepared | None = None
        self.heartbeat: Heartbeat | None = None
        self.ledger: bytes | None = None
        self.connected = 0
        self._tick = Tick()

    def take_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Take in what it says each second."""
        self.heartbeat = heartbeat
        self._tick.then(merge_ticks((heartbeat.tick,)))
        self.connected = self._tick.connected
        self.cpu.add(heartbeat.at_ns, heartbeat.cpu_ns)

    def take_tick(self) -> Tick:
        """Return what came since it was asked last; who said nothing is where it was."""
        taken, self._tick = self._tick, Tick(connected=self.connected)
        taken.connected = self.connected
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
    """Everybody who is part of a run. What others say is not heard."""

    def __init__(self, runner: Any, channel: Channel, clock: RunClock, lost: Callable[[], int] = lambda: 0) -> None:
        """`runner` is Locust's, which knows whose heart beats; `lost` counts processes of ours that have ended."""
        self._runner = runner
        self._lost = lost
        self._moved = Event()
        self.states: dict[str, WorkerState] = {}
        channel.listen_to_each(Prepared, lambda client, message: self._set(client, "prepared", message))
        channel.listen_to_each(Report, lambda client, message: self._set(client, "ledger", message.ledger))
        channel.listen_to_each(Heartbeat, self._on_heartbeat)
        channel.listen_to_each(
            Ping, lambda who, ping: channel.send(Pong(number=ping.number, now_ns=clock.now_ns()), who)
        )

    def begin_run(self) -> list[str]:
        """Begin anew with those who are there, and return who that is."""
        clients = getattr(self._runner, "clients", None)
        there = ["local"] if clients is None else _in_turn(each.id for each in clients.all if each.state != _MISSING)
        self.states = {client: WorkerState(number) for number, client in enumerate(there)}
        return there

    def missing(self) -> int:
        """Count those who have gone."""
        return max(sum(map(self._is_missing, self.states)), self._lost())

    def wait_until_all(self, done: str, seconds: float, give_up: Event | None = None) -> bool:
        """Wait until a field is set of every worker who is still there. Returns whether it is of all."""
        with gevent.Timeout(seconds, False):
            while not (give_up is not None and give_up.is_set()):
                silent = [client for client, state in self.states.items() if getattr(state, done) is None]
                if not silent:
                    return True
                if all(map(self._is_missing, silent)) or len(silent) <= self._lost():
                    return False
                self._moved.clear()
                self._moved.wait(_GLANCE)
        return False

    def _is_missing(self, client: str) -> bool:
        clients = getattr(self._runner, "clients", None)
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

    def uncertainty_ns(self) -> int:
        """Return how uncertain anybody's clock was at worst, in the whole run."""
        prepared = (state.prepared.uncertainty_ns for state in self.states.values() if state.prepared is not None)
        return max((*prepared, *(each.uncertainty_ns for each in self.heartbeats)), default=0)

    def _set(self, client: str, field: str, value: Any) -> None:
        if client in self.states:
            setattr(self.states[client], field, value)
            self._moved.set()

    def _on_heartbeat(self, client: str, heartbeat: Heartbeat) -> None:
        if client in self.states:
            self.states[client].take_heartbeat(heartbeat)


def _in_turn(clients: Iterable[str]) -> list[str]:
    """Return workers in the order in which Locust deals users to them: host by host in turn."""
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
        self._logs = [folder / f"worker-{number + 1}.log" for number in range(count)]
        address = ("--master", f"{master[0]}:{master[1]}", "--crowd", str(crowd))
        self._processes = [self._start(log, *address) for log in self._logs]

    def _start(self, log: Path, *arguments: str) -> "subprocess.Popen[bytes]":
        with log.open("wb") as output:
            return subprocess.Popen(  # noqa: S603 - our own program
                (sys.executable, "-m", "loadtest", "worker", "--tethered", *arguments),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def lost(self) -> int:
        """Count those that have ended."""
        return sum(process.poll() is not None for process in self._processes)

    def wait_connected(self, runner: Any, options: Options) -> None:
        """Wait until as many as were asked for are at a Locust master; remote ones come when they come.

        Raises CouldNotRun.
        """
        end = float("inf") if options.remote else time.monotonic() + CONNECT_SECONDS
        while len(runner.clients.ready) < options.workers:
            if self.lost():
                ended = zip(self._logs, self._processes, strict=True)
                said = "\n".join(tail_of(log) for log, process in ended if process.poll() is not None)
                raise CouldNotRun(f"a worker ended before the run began:\n{said}")
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


@contextmanager
def open_workers(count: int, master: tuple[str, int], crowd: Path, folder: Path) -> Iterator[LocalWorkers]:
    """Run so many workers for as long as a block lasts."""
    workers = LocalWorkers(count, master, crowd, folder)
    try:
        yield workers
    finally:
        workers.stop()
