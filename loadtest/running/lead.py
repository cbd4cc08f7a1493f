"""The leading side of a run in a Locust process: a course begins whenever Locust begins a test, and ends with it."""

import os
from collections.abc import Callable
from typing import Any, Final

import gevent

from loadtest.gate.findings import breaks
from loadtest.gate.slo import Slo
from loadtest.ledger.clock import RunClock, boot_id
from loadtest.ledger.reports import Tick
from loadtest.running.course import Course, Surroundings
from loadtest.running.deeds import Deeds
from loadtest.running.gathering import figures_so_far
from loadtest.running.lookout import Lookout
from loadtest.running.options import Options
from loadtest.running.posting import Post, Prepare
from loadtest.running.progress import Progress
from loadtest.running.record import Passage
from loadtest.running.roll import Roll
from loadtest.running.shape import PlanShape
from loadtest.running.system import System
from loadtest.scenarios.plan import Plan

_END_DEADLINE: Final = 120.0
_RUN_BYTES: Final = 8
Target = tuple[int, float] | None


class Lead:
    """Leads one run after the other. `course` is the present or the last one."""

    def __init__(
        self,
        environment: Any,
        plan: Plan,
        system: System,
        options: Options,
        slo: Slo,
        progress: Progress,
        lost: Callable[[], int] = lambda: 0,
    ) -> None:
        """`environment` is Locust's, with its runner; `lost` counts workers of ours whose process has ended."""
        self.runner = environment.runner
        self.address = ("", 0)
        """Where workers find us."""
        self.plan = plan
        self.options = options
        self.course: Course | None = None
        self._following: gevent.Greenlet | None = None
        self.on_end: Callable[[Course], None] = lambda _: None
        self.on_second: Callable[[Tick, Tick], None] = lambda _, __: None
        self.ends_test = True
        """Whether the end of the plan ends Locust's test as well."""
        self.deeds = Deeds(system.stack, options.hook, progress.say)
        self.deeds.check(plan)
        self.lookout = Lookout(system.stack)
        self._system = system
        self._slo = slo
        self._progress = progress
        self._post = Post(environment.runner)
        self._roll = Roll(environment.runner, self._post, RunClock(), lost)
        assert isinstance(environment.shape_class, PlanShape)
        environment.shape_class.target = self._target
        environment.events.test_start.add_listener(lambda **_: self._begin())
        environment.events.test_stopping.add_listener(lambda **_: self.end())

    def end(self) -> None:
        """End the course if there is one that has not ended, and wait until `on_end` has had what there is of it."""
        if self.course is not None and self._following is not None:
            self.course.stop()
            self._following.join(_END_DEADLINE)

    def _begin(self) -> None:
        run = draw_run()
        self.course = course = Course(
            self.plan, lambda *place: self._task(run, *place), self._roll, self._post, self._surroundings()
        )
        self.lookout.start()
        self._following = gevent.spawn(self._follow, course)

    def _follow(self, course: Course) -> None:
        try:
            course.run()
        finally:
            self.lookout.stop()
            course.record.broken += self.deeds.failed
            self.on_end(course)

    def _target(self) -> Target:
        course = self.course
        if course is None:
            return (0, 1.0)
        return None if course.done.is_set() and self.ends_test else course.target()

    def _task(self, run: int, worker: int, workers: int) -> Prepare:
        return Prepare(
            plan=self.plan,
            worker=worker,
            workers=workers,
            crowd=str(self._system.crowd_file),
            outbox=self._system.outbox,
            run=run,
            seed=self.options.seed,
            even=self.options.even,
            boot=boot_id(),
        )

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            act=self.deeds.act,
            look=lambda: self.lookout.seen,
            fallen=self.lookout.fallen,
            breaks=self._breaks,
            show=self._progress.show,
            say=self._progress.say,
            tell=self.on_second,
        )

    def _breaks(self, passage: Passage, ticks: Tick) -> list[str]:
        stage = self.plan.stages[passage.index]
        assert self.course is not None
        figures = figures_so_far(stage, passage, ticks, self.course.record.began_ns)
        return breaks(figures, self._slo, stage.users)


def draw_run() -> int:
    """Return the number of a run, which tells its messages from those of an earlier one."""
    return int.from_bytes(os.urandom(_RUN_BYTES)) >> 1
