"""A Locust process that leads as many runs as somebody starts, over one system.

Importing this file imports locust, which patches the process.
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from loadtest.report.result import EXIT_CODES
from loadtest.running.conductor import plan_of, slo_of
from loadtest.running.course import Course
from loadtest.running.lead import Lead
from loadtest.running.local_workers import LocalWorkers
from loadtest.running.locust_figures import count_second
from loadtest.running.options import Options
from loadtest.running.outcome import conclude, folder_of, publish
from loadtest.running.progress import Progress
from loadtest.running.system import System, open_system
from loadtest.running.web import add_charts

StartWorkers = Callable[[System, ExitStack], LocalWorkers]
"""Its processes end with the stack."""


class Leading:
    """From Locust's beginning to its end, with as many runs between as somebody starts."""

    def __init__(self, environment: Any, options: Options, start_workers: StartWorkers | None = None) -> None:
        """With `start_workers`, its processes live as long as the system. Raises CouldNotRun."""
        self._environment = environment
        self._options = options
        self._plan, self._slo = plan_of(options), slo_of(options)
        self._start_workers = start_workers
        self.progress = Progress()
        self._open = ExitStack()
        self._system: System | None = None
        self.folder: Path | None = None
        """Of the last run that ended."""

    def open(self) -> Lead:
        """Open the system, and begin a course whenever Locust begins a test. Raises CouldNotRun."""
        try:
            return self._enter()
        except BaseException:
            self._open.close()
            raise

    def _enter(self) -> Lead:
        self._system = self._open.enter_context(open_system(self._options, self._plan, self.progress.say))
        lost: Callable[[], int] = lambda: 0  # noqa: E731 - nobody of ours
        if self._start_workers is not None:
            lost = self._start_workers(self._system, self._open).lost
        lead = Lead(self._environment, self._plan, self._system, self._options, self._slo, self.progress, lost)
        lead.on_end = self._finish
        lead.on_second = lambda second, _: count_second(self._environment.stats, second)
        self._environment.events.quitting.add_listener(lambda **_: self.close(lead))
        if self._environment.web_ui is not None:
            add_charts(self._environment.web_ui, lead, lambda: self.folder)
        return lead

    def _finish(self, course: Course) -> None:
        assert self._system is not None
        result = conclude(self._plan, course.record, self._system.crowd.rooms, self._options, self._slo)
        self.folder = folder_of(self._options)
        for line in publish(result, self.folder):
            self.progress.say(line)
        self._environment.process_exit_code = EXIT_CODES[result.verdict]

    def close(self, lead: Lead) -> None:
        """End the run if there is one, and the system."""
        lead.end()
        self._open.close()
