"""The master: opens a system and workers, and makes a run of each Locust test, headless or from Locust's web page."""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import gevent
from gevent.event import Event
from locust import LoadTestShape
from locust import stats as locust_stats
from locust.env import Environment
from locust.event import Events
from locust.stats import RequestStats, StatsEntry, bucket_response_time, stats_history
from msgspec.structs import replace

from loadtest.exits import EXIT_CODES, CouldNotRun
from loadtest.gate import SLO, read_slo
from loadtest.ledger.reports import StageSums
from loadtest.ledger.run_time import RunClock
from loadtest.running.result import RunRecord, conclude, folder_of, publish
from loadtest.running.run import Console, Run
from loadtest.running.system import System, open_system, warn_beforehand
from loadtest.running.worker import VardeUser, lift_limits
from loadtest.running.workers import Workers, open_workers
from loadtest.scenarios.plan import SCENARIOS, Options
from loadtest.stack.process import listens

_END_SECONDS: Final = 120.0
_STOPPED: Final = 130  # as shells give it for SIGINT
# What Locust's page gets at its end. The scenario decides what the hidden fields of its form ask for.
_TAGS: Final = Path(__file__).with_name("locust_page.html")
_RAW: Final = "message to receiver, or request, from when it was sent"
_NAMES: Final = (
    ("send_to_ack", "SEND", "message, to ack"),
    ("send_to_receive", "RECV", "message, to receiver"),
    ("request", "API", "request"),
    ("raw_send_to_receive", "RAW", _RAW),
    ("raw_request", "RAW", _RAW),
)


class PlanShape(LoadTestShape):
    """Begins a Locust test without users: the run asks for them as its stages begin."""

    use_common_options = True

    def tick(self) -> Any:
        """Return users, and how many of them are spawned each second: always the same, so that Locust does nothing."""
        return 0, 1.0


class Master:
    """Over one system: a run begins whenever Locust begins a test, and ends with it, as often as somebody likes."""

    def __init__(self, environment: Any, options: Options) -> None:
        """`environment` is Locust's, with its runner. Raises CouldNotRun for what can be seen beforehand."""
        scenario = SCENARIOS.get(options.scenario)
        if scenario is None:
            raise CouldNotRun(f"there is no scenario {options.scenario!r}", f"There are {', '.join(SCENARIOS)}.")
        self.plan, self._slo = scenario.plan(options), read_slo(options.slo or SLO)
        self._slo.bounds_of(options.scenario)
        self.options = options
        self.console = Console()
        self.run: Run | None = None  # the present or the last one
        self.ended = Event()  # a run has ended, and its result is written
        self.folder: Path | None = None  # of the last run that ended
        self.exit_code = 0
        self.system: System | None = None
        self._environment, self._runner = environment, environment.runner
        self._ending = False
        self._following: gevent.Greenlet | None = None
        self._open = ExitStack()

    def open(self, logs: Path | None = None) -> None:
        """Open the system, and workers of ours if there is a folder for their `logs`. Raises CouldNotRun."""
        environment, events = self._environment, self._environment.events
        with ExitStack() as opened:
            self.system = opened.enter_context(open_system(self.options, self.plan, self.console.say))
            if logs is not None:
                address = (self.options.bind[0], self._runner.server.port)
                if self.options.remote:
                    self.console.say(f"waiting for {self.options.workers} workers at {address[0]}:{address[1]}")
                workers = open_workers(self._runner, self.options, address, self.system.crowd_file, logs)
                opened.enter_context(workers)
            self._workers = Workers(self._runner, RunClock())
            self._open = opened.pop_all()
        events.test_start.add_listener(lambda **_: self._begin())
        events.test_stopping.add_listener(lambda **_: self._end())
        events.quitting.add_listener(lambda **_: self.close())
        if environment.web_ui is not None:
            ready = f"{self.plan.scenario}: {len(self.plan.stages)} stages, {self.plan.seconds:.0f} s"
            _add_state(environment.web_ui, lambda: self.console.last or ready, lambda: self.folder)

    def close(self) -> None:
        """End the run if there is one, workers and the system."""
        self._end()
        self._open.close()

    def _begin(self) -> None:
        assert self.system is not None
        count = partial(_count_second, self._environment.stats)
        self.run = Run(self.plan, self.options, self._slo, self._workers, self.system, self.console, count)
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
            self._following = None

    def interrupt(self) -> None:
        """End the run that somebody waits for, or write that there was none."""
        if self.run is None:
            self.finish(RunRecord(interrupted=True))
        elif not self.ended.is_set():
            self.console.say("interrupted: settling, then the reports (once more: end at once)")
            self.run.stop()
            self.ended.wait()

    def finish(self, record: RunRecord) -> None:
        """Judge a run, write its reports and say how it went."""
        rooms = () if self.system is None else self.system.crowd.rooms
        result = conclude(self.plan, record, rooms, self.options, self._slo)
        self.folder = folder_of(self.options)
        for line in publish(result, self.folder):
            self.console.say(line)
        self.exit_code = self._environment.process_exit_code = EXIT_CODES[result.verdict]
        self.ended.set()


def _open_environment(options: Options) -> Any:
    logging.getLogger("locust").setLevel(logging.ERROR)  # its warnings are about a pace of spawning that we keep
    lift_limits()
    shape: Any = PlanShape()  # type: ignore[no-untyped-call]
    environment: Any = Environment(user_classes=[VardeUser], shape_class=shape, events=Events())  # type: ignore[no-untyped-call]
    environment.create_master_runner(*options.bind)
    return environment


@contextmanager
def _interruptible(say: Callable[[str], None]) -> Iterator[None]:
    """SIGINT or SIGTERM: the first one raises KeyboardInterrupt in the block, the second one ends the process."""
    signals, main = list[int](), gevent.getcurrent()

    def on_signal(number: int) -> None:
        signals.append(number)
        if len(signals) == 1:
            gevent.kill(main, KeyboardInterrupt)
            return
        try:
            say("ending at once: nothing more is written")
        finally:
            os._exit(_STOPPED)

    handlers = [gevent.signal_handler(number, on_signal, number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for handler in handlers:
            handler.cancel()


def run_headless(options: Options) -> int:
    """Run once, write what there is, and return the exit code. Raises CouldNotRun when the run cannot begin."""
    environment = _open_environment(options)
    master = Master(environment, options)
    master.options = replace(options, out=folder_of(options))
    warn_beforehand(options, master.plan, master.console.say)
    with _interruptible(master.console.say):
        try:
            master.open(folder_of(master.options) / "logs")
            environment.runner.start_shape()
            master.ended.wait()
            if options.keep_stack and master.system is not None and master.system.stack is not None:
                master.console.say(f"the stack stays until Ctrl-C; run again with --crowd {master.system.crowd_file}")
                gevent.sleep(float("inf"))
        except KeyboardInterrupt:
            master.interrupt()
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
    environment = _open_environment(options)
    sys.argv = sys.argv[:1]  # Locust's page reads it, and would not know our words
    web = environment.create_web_ui(*address, delayed_start=True)
    history = gevent.spawn(stats_history, environment.runner)
    master = Master(environment, options)
    with TemporaryDirectory(prefix="varde-load-logs-") as logs, _interruptible(master.console.say):
        try:
            master.open(Path(logs))
            web.start()
            master.console.say(f"http://{address[0]}:{address[1]} is ready; Ctrl-C ends it")
            web.greenlet.join()
        except KeyboardInterrupt:
            master.console.say("ending")
        finally:
            environment.events.quitting.fire(environment=environment, reverse=True)
            web.stop()
            history.kill()
            environment.runner.greenlet.kill()
    return master.exit_code


def _add_state(web: Any, state: Callable[[], str], folder: Callable[[], Path | None]) -> None:
    """Add to the page of Locust's WebUI the present state in words, and the report in the last run's folder."""
    app, answer = web.app, web.app.response_class
    locust_stats.PERCENTILES_TO_CHART = [0.5, 0.99]

    def report() -> Any:
        page = (folder() or Path()) / "report.html"
        if not page.exists():
            return answer("no run has ended yet", status=404, mimetype="text/plain")
        return answer(page.read_bytes(), mimetype="text/html")

    def with_tags(response: Any) -> Any:
        if response.mimetype == "text/html" and not response.direct_passthrough:
            page = response.get_data()
            # Only the page that Locust's own program is drawn into; others, such as reports, stay as they are.
            if b"window.templateArgs" in page:
                response.set_data(page.replace(b"</body>", _TAGS.read_bytes(), 1))
        return response

    app.add_url_rule("/varde/state", "state", lambda: answer(state(), mimetype="text/plain"))
    app.add_url_rule("/varde/report", "report", report)
    app.after_request(with_tags)


def _count_second(stats: RequestStats, second: StageSums) -> None:
    """Add what happened within a second to Locust's statistics. A message counts from when it was due."""
    for field, method, name in _NAMES:
        if counts := getattr(second, field).counts_ms():
            entry = _entry(stats, method, name, counts)
            stats.get(name, method).extend(entry)
            if method != "RAW":  # the same messages again
                stats.total.extend(entry)


def _entry(stats: RequestStats, method: str, name: str, counts: list[tuple[float, int]]) -> StatsEntry:
    entry: Any = StatsEntry(stats, name, method)
    for took_ms, count in counts:
        bucket = bucket_response_time(took_ms)
        entry.response_times[bucket] = entry.response_times.get(bucket, 0) + count
    entry.total_response_time = sum(took_ms * count for took_ms, count in counts)
    entry.min_response_time, entry.max_response_time = counts[0][0], counts[-1][0]
    entry.num_requests = sum(count for _, count in counts)
    entry.last_request_timestamp = now = time.time()
    entry.num_reqs_per_sec = {int(now): entry.num_requests}
    return entry  # type: ignore[no-any-return]
