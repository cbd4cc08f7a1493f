"""One run from its beginning to its exit code: system, workers, course, result.

Importing this file imports locust, which patches the process.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import gevent
from locust.env import Environment
from locust.event import Events
from locust.runners import MasterRunner

from loadtest.command.exits import CouldNotRun
from loadtest.gate.slo import Slo, SloError, read_slo
from loadtest.report.result import EXIT_CODES
from loadtest.running.broom import sweep_later
from loadtest.running.duty import lift_limits
from loadtest.running.forewarning import warn_beforehand
from loadtest.running.interruption import heed_interruption
from loadtest.running.lead import Lead
from loadtest.running.local_workers import LocalWorkers, open_workers, wait_for_workers
from loadtest.running.options import Options
from loadtest.running.outcome import conclude, folder_of, publish
from loadtest.running.progress import Progress
from loadtest.running.record import Record
from loadtest.running.shape import RunShape
from loadtest.running.system import System, open_system
from loadtest.running.user import VardeUser
from loadtest.scenarios.catalogue import SCENARIOS, AskError
from loadtest.scenarios.plan import Plan

_GLANCE: Final = 0.1


def plan_of(options: Options) -> Plan:
    """Return the scenario's plan with what was asked for filled in. Raises CouldNotRun."""
    scenario = SCENARIOS.get(options.scenario)
    if scenario is None:
        raise CouldNotRun(f"there is no scenario {options.scenario!r}", f"There are {', '.join(SCENARIOS)}.")
    try:
        return scenario.plan(options.ask)
    except AskError as error:
        raise CouldNotRun(f"{options.scenario}: {error}") from error


def slo_of(options: Options) -> Slo:
    """Return the objectives, which know the scenario. Raises CouldNotRun."""
    try:
        slo = read_slo(options.slo) if options.slo is not None else read_slo()
        slo.bounds_of(options.scenario)
    except SloError as error:
        raise CouldNotRun(str(error)) from error
    return slo


class Conductor:
    """One run, headless."""

    def __init__(self, options: Options) -> None:
        """Raises CouldNotRun for what can be seen beforehand."""
        self.options = options
        self.plan = plan_of(options)
        self.slo = slo_of(options)
        self.folder = folder_of(options)
        self.progress = Progress()
        self.record = Record()
        self._lead: Lead | None = None
        self._system: System | None = None

    def run(self) -> int:
        """Run, write what there is, and return the exit code. Raises CouldNotRun when the run cannot begin."""
        lift_limits()
        warn_beforehand(self.options, self.plan, self.progress.say)
        with heed_interruption(self._end_course, self._leave):
            try:
                with open_system(self.options, self.plan, self.progress.say) as system:
                    self._system = system
                    self._conduct(system)
                    code = self._finish(system)
                    self._keep(system)
                    return code
            except KeyboardInterrupt:
                self.record.interrupted = True
                return self._finish(None)
            except CouldNotRun as error:
                self.record.failure = str(error)
                self._write(None)
                raise

    def _conduct(self, system: System) -> None:
        with open_leader(self, system) as (lead, workers):
            self._lead = lead
            if self.options.remote:
                self.progress.say(f"waiting for {self.options.workers} workers at {lead.address[0]}:{lead.address[1]}")
            wait_for_workers(lead.runner, workers, self.options)
            lead.runner.start_shape()
            self._wait_for_course(lead)
            lead.runner.quit()
            self._lead = None
        if self.record.failure:
            raise CouldNotRun(self.record.failure)

    def _wait_for_course(self, lead: Lead) -> None:
        """Wait for as long as the plan takes; what is in it has deadlines."""
        while lead.course is None:
            gevent.sleep(_GLANCE)
        self.record = lead.course.record
        lead.course.done.wait()

    def _end_course(self) -> bool:
        course = None if self._lead is None else self._lead.course
        if course is None or course.done.is_set():
            return False
        self.progress.say("interrupted: settling, then the reports (once more: end at once)")
        course.stop()
        return True

    def _leave(self) -> None:
        """Leave everything as it is, at once."""
        self.progress.say("ending at once: nothing more is written")
        system = self._system
        if system is not None and system.stack is not None:
            sweep_later(system.crowd_file.parent, system.stack.pids.values())

    def _finish(self, system: System | None) -> int:
        lines, code = self._write(system)
        for line in lines:
            self.progress.say(line)
        return code

    def _write(self, system: System | None) -> tuple[list[str], int]:
        rooms = () if system is None else system.crowd.rooms
        result = conclude(self.plan, self.record, rooms, self.options, self.slo)
        return publish(result, self.folder), EXIT_CODES[result.verdict]

    def _keep(self, system: System) -> None:
        if not self.options.keep_stack or system.stack is None:
            return
        self.progress.say(f"the stack stays until Ctrl-C; run again with --crowd {system.crowd_file}")
        try:
            gevent.sleep(float("inf"))  # as long as somebody wants it
        except KeyboardInterrupt:
            self.progress.say("the stack ends")


@contextmanager
def open_leader(conductor: Conductor, system: System) -> Iterator[tuple[Lead, LocalWorkers]]:
    """Be Locust's master, with workers of our own unless they come from elsewhere."""
    logging.getLogger("locust").setLevel(logging.ERROR)  # its warnings are about a pace of spawning that we keep
    events: Any = Events()  # type: ignore[no-untyped-call]
    environment: Any = Environment(user_classes=[VardeUser], shape_class=RunShape(), events=events)
    options = conductor.options
    runner: MasterRunner = environment.create_master_runner(*options.bind)
    address = (options.bind[0], runner.server.port)
    count = 0 if options.remote else options.workers
    try:
        with open_workers(count, address, system.crowd_file, conductor.folder / "logs") as workers:
            lead = Lead(environment, conductor.plan, system, options, conductor.slo, conductor.progress, workers.lost)
            lead.ends_test = False  # so that workers hand in their ledgers before Locust stops the users
            lead.address = address
            yield lead, workers
    finally:
        runner.greenlet.kill(block=True)


def conduct(options: Options) -> int:
    """Run headless. Returns the exit code; raises CouldNotRun."""
    return Conductor(options).run()
