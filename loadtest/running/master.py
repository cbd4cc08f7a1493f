"""The master: opens a system and workers, makes a run of each Locust test, headless or from Locust's web page.

Importing this file imports locust, which patches the process.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import gevent
import msgspec
from gevent.event import Event
from locust import LoadTestShape
from locust.env import Environment
from locust.event import Events
from locust.stats import stats_history

from loadtest.command.exits import CouldNotRun
from loadtest.gate.slo import Slo, SloError, read_slo
from loadtest.ledger.clock import RunClock
from loadtest.report.result import EXIT_CODES
from loadtest.running.options import Options
from loadtest.running.progress import Progress
from loadtest.running.result import RunRecord, conclude, folder_of, publish
from loadtest.running.run import Run
from loadtest.running.system import System, open_system, warn_beforehand
from loadtest.running.web import add_charts, count_second
from loadtest.running.worker import VardeUser, lift_limits
from loadtest.running.workers import LocalWorkers, Workers
from loadtest.scenarios.catalogue import SCENARIOS, AskError
from loadtest.scenarios.plan import Plan
from loadtest.stack.process import listens

_END_SECONDS: Final = 120.0
_STOPPED: Final = 130  # as shells give it for SIGINT


class PlanShape(LoadTestShape):
    """A plan as Locust understands it: whoever follows it says how many users there are to be now."""

    abstract = True  # so that a locustfile may import it

    use_common_options = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.target: Callable[[], tuple[int, float]] = lambda: (0, 1.0)

    def tick(self) -> Any:
        """Return users, and how many of them are spawned each second."""
        return self.target()


def read_plan(options: Options) -> tuple[Plan, Slo]:
    """Return the scenario's plan with what was asked for filled in, and the objectives. Raises CouldNotRun."""
    scenario = SCENARIOS.get(options.scenario)
    if scenario is None:
        raise CouldNotRun(f"there is no scenario {options.scenario!r}", f"There are {', '.join(SCENARIOS)}.")
    try:
        plan = scenario.plan(options.ask)
        slo = read_slo(options.slo) if options.slo is not None else read_slo()
        slo.bounds_of(options.scenario)
    except AskError as error:
        raise CouldNotRun(f"{options.scenario}: {error}") from error
    except SloError as error:
        raise CouldNotRun(str(error)) from error
    return plan, slo


class Master:
    """Over one system: a run begins whenever Locust begins a test, and ends with it, as often as somebody likes."""

    def __init__(self, environment: Any, options: Options) -> None:
        """`environment` is Locust's, with its runner. Raises CouldNotRun for what can be seen beforehand."""
        self.options = options
        self.plan, self._slo = read_plan(options)
        self.progress = Progress()
        self.run: Run | None = None  # the present or the last one
        self.ended = Event()  # a run has ended, and its result is written
        self.folder: Path | None = None  # of the last run that ended
        self.exit_code = 0
        self.system: System | None = None
        self._environment, self._runner = environment, environment.runner
        self._over: Run | None = None
        self._ending = False
        self._following: gevent.Greenlet | None = None
        self._open = ExitStack()

    def open(self, logs: Path | None = None) -> None:
        """Open the system, and workers of ours if there is a folder for their `logs`. Raises CouldNotRun."""
        with ExitStack() as opened:
            self.system = opened.enter_context(open_system(self.options, self.plan, self.progress.say))
            lost = self._open_workers(opened, self.system, logs) if logs is not None else lambda: 0
            self._workers = Workers(self._runner, RunClock(), lost)
            self._open = opened.pop_all()
        assert isinstance(self._environment.shape_class, PlanShape)
        self._environment.shape_class.target = self._target
        self._environment.events.test_start.add_listener(lambda **_: self._begin())
        self._environment.events.test_stopping.add_listener(lambda **_: self._end())
        self._environment.events.quitting.add_listener(lambda **_: self.close())
        if self._environment.web_ui is not None:
            add_charts(self._environment.web_ui, self)

    def _open_workers(self, opened: ExitStack, system: System, logs: Path) -> Callable[[], int]:
        """Wait until all workers are there. Returns what counts those of ours that have ended."""
        address = (self.options.bind[0], self._runner.server.port)
        if self.options.remote:
            self.progress.say(f"waiting for {self.options.workers} workers at {address[0]}:{address[1]}")
        count = 0 if self.options.remote else self.options.workers
        workers = LocalWorkers(count, address, system.crowd_file, logs)
        opened.callback(workers.stop)
        workers.wait_connected(self._runner, self.options)
        return workers.lost

    def close(self) -> None:
        """End the run if there is one, workers and the system."""
        self._end()
        self._open.close()

    def _target(self) -> tuple[int, float]:
        # Before Locust begins a test, and so a run, it asks: what the last run wants does not count any more.
        return (0, 1.0) if self.run is None or self.run is self._over else self.run.target()

    def _begin(self) -> None:
        assert self.system is not None
        count = partial(count_second, self._environment.stats)
        self.run = Run(self.plan, self.options, self._slo, self._workers, self.system, self.progress, count)
        self._ending = False
        self._following = gevent.spawn(self._follow, self.system, self.run)

    def _follow(self, system: System, run: Run) -> None:
        system.failed = []
        watching = gevent.spawn(system.watch)
        try:
            run.run()
        finally:
            watching.kill()
            run.record.broken += system.failed
            self.finish(run.record)
            if not self._ending:
                gevent.spawn(self._end_test)

    def _end_test(self) -> None:
        # Not by the shape's word, as Locust has it: then there is a moment in which it says that it has stopped, and
        # START does nothing.
        given = self._environment.parsed_options
        (self._runner.quit if given is not None and given.headless else self._runner.stop)()

    def _end(self) -> None:
        """End the run if there is one, and wait until what there is of it is written."""
        if self.run is not None and self._following is not None:
            self._ending = True
            self.run.stop()
            self._following.join(_END_SECONDS)
            self._over = self.run

    def finish(self, record: RunRecord) -> None:
        """Judge a run, write its reports and say how it went."""
        rooms = () if self.system is None else self.system.crowd.rooms
        result = conclude(self.plan, record, rooms, self.options, self._slo)
        self.folder = folder_of(self.options)
        for line in publish(result, self.folder):
            self.progress.say(line)
        self.exit_code = self._environment.process_exit_code = EXIT_CODES[result.verdict]
        self.ended.set()


def _open_environment(options: Options, *, use_common_options: bool = True) -> Any:
    logging.getLogger("locust").setLevel(logging.ERROR)  # its warnings are about a pace of spawning that we keep
    lift_limits()
    shape: Any = PlanShape()
    shape.use_common_options = use_common_options
    environment: Any = Environment(user_classes=[VardeUser], shape_class=shape, events=Events())  # type: ignore[no-untyped-call]
    environment.create_master_runner(*options.bind)
    return environment


@contextmanager
def _interruption(gently: Callable[[], bool], leave: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Handle SIGINT and SIGTERM while a block lasts: the first one ends it in good order, the second one at once.

    `gently` returns whether there was something to end; otherwise the block ends with KeyboardInterrupt. Whatever we
    started ends when it notices that we are gone.
    """
    signals, main = list[int](), gevent.getcurrent()

    def on_signal(number: int) -> None:
        signals.append(number)
        if len(signals) > 1:
            try:
                leave()
            finally:
                os._exit(_STOPPED)
        if not gently():
            gevent.kill(main, KeyboardInterrupt)

    handlers = [gevent.signal_handler(number, on_signal, number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for handler in handlers:
            handler.cancel()


def run_headless(options: Options) -> int:
    """Run once, write what there is, and return the exit code. Raises CouldNotRun when the run cannot begin."""
    read_plan(options)
    environment = _open_environment(options)
    folder = folder_of(options)
    master = Master(environment, msgspec.structs.replace(options, out=folder))
    warn_beforehand(options, master.plan, master.progress.say)

    def stop() -> bool:
        if master.run is None or master.run.done.is_set():
            return False
        master.progress.say("interrupted: settling, then the reports (once more: end at once)")
        master.run.stop()
        return True

    with _interruption(stop, lambda: master.progress.say("ending at once: nothing more is written")):
        try:
            master.open(folder / "logs")
            environment.runner.start_shape()
            master.ended.wait()
            if options.keep_stack and master.system is not None and master.system.stack is not None:
                master.progress.say(f"the stack stays until Ctrl-C; run again with --crowd {master.system.crowd_file}")
                gevent.sleep(float("inf"))  # as long as somebody wants it
        except KeyboardInterrupt:
            if not master.ended.is_set():
                master.finish(RunRecord(interrupted=True))
        except CouldNotRun as error:
            master.finish(RunRecord(failure=str(error)))
            raise
        finally:
            environment.runner.quit()
            environment.runner.greenlet.kill(block=True)
            master.close()
    return master.exit_code


def serve_page(options: Options, address: tuple[str, int]) -> int:
    """Serve Locust's page until Ctrl-C; runs are started there. Returns the exit code; raises CouldNotRun."""
    if listens(address):
        raise CouldNotRun(f"somebody listens at {address[0]}:{address[1]} already", "Choose another --port.")
    read_plan(options)
    environment = _open_environment(options, use_common_options=False)
    runner = environment.runner
    sys.argv = sys.argv[:1]  # Locust's page reads it, and would not know our words
    web = environment.create_web_ui(*address, delayed_start=True)
    history = gevent.spawn(stats_history, runner)
    master = Master(environment, options)
    with TemporaryDirectory(prefix="varde-load-logs-") as logs, _interruption(lambda: False):
        try:
            master.open(Path(logs))
            web.start()
            master.progress.say(f"http://{address[0]}:{address[1]} is ready; Ctrl-C ends it")
            web.greenlet.join()  # as long as somebody wants it
        except KeyboardInterrupt:
            master.progress.say("ending")
        finally:
            environment.events.quitting.fire(environment=environment, reverse=True)
            master.close()
            web.stop()
            gevent.killall([history])
            runner.greenlet.kill()
    return master.exit_code
