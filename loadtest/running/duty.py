"""A worker's side of a run: it prepares when told to, follows the stages, and reports.

What it hears while it waits for something must be heard, so whatever takes time has a greenlet of its own.
"""

import gc
import resource
import time
from pathlib import Path
from typing import Any, Final

import gevent
from gevent.event import AsyncResult

from loadtest.crowd.crowd import CrowdError, read_crowd
from loadtest.ledger.clock import RunClock, open_clock
from loadtest.running.crew import Crew
from loadtest.running.posting import Beat, Began, Finish, Ping, Pong, Post, Prepare, Prepared, Report, Rest
from loadtest.running.timekeeping import PONG_DEADLINE, Timekeeper
from loadtest.running.user import VardeUser

_SECOND_NS: Final = 1_000_000_000
_MIB: Final = 1 << 20
_NS_MS: Final = 1e6
_YOUNG: Final = 50_000
"""Allocations between two looks of the garbage collector: users are objects that live, and looking at them all costs
milliseconds that would be counted as latency."""


class Duty:
    """Listens to the leader for as long as the process lives."""

    def __init__(self, runner: Any, crowd: Path | None) -> None:
        """`crowd` is this machine's own file of the crowd; without it the leader's word is taken."""
        self._post = Post(runner)
        self._crowd = crowd
        self._clock = RunClock()
        self._crew: Crew | None = None
        self._ticking: gevent.Greenlet | None = None
        self._following: gevent.Greenlet | None = None
        self._pongs: dict[int, AsyncResult] = {}
        self._post.hear(Prepare, lambda _, word: self._spawn(self._prepare, word))
        self._post.hear(Began, self._on_began)
        self._post.hear(Rest, self._on_rest)
        self._post.hear(Finish, lambda _, word: self._spawn(self._finish, word))
        self._post.hear(Pong, self._on_pong)

    def _spawn(self, work: Any, word: Any) -> None:
        gevent.spawn(work, word)

    def _prepare(self, word: Prepare) -> None:
        self._lay_down()
        try:
            crowd = read_crowd(self._crowd or Path(word.crowd))
            self._clock = open_clock(word.boot, self._ping)
            self._crew = VardeUser.crew = Crew(crowd, word, self._clock)
        except (CrowdError, gevent.Timeout, ValueError) as error:
            self._post.say(Prepared(trouble=str(error) or "the leader did not answer"))
            return
        gc.collect()
        gc.freeze()
        gc.set_threshold(_YOUNG, 20, 20)
        self._ticking = gevent.spawn(self._tick, self._crew)
        self._following = gevent.spawn(Timekeeper(self._clock, self._ping).run)
        self._post.say(Prepared(uncertainty_ns=self._clock.uncertainty_ns))

    def _lay_down(self) -> None:
        """End what is left of an earlier run."""
        for each in (self._ticking, self._following):
            if each is not None:
                each.kill()
        if self._crew is not None:
            self._crew.aclose()
        self._crew = VardeUser.crew = None

    def _on_began(self, _: str, word: Began) -> None:
        if self._crew is not None:
            self._crew.open_stage(word.index, word.began_ns)
            gc.freeze()

    def _on_rest(self, _: str, word: Rest) -> None:
        if self._crew is not None:
            self._crew.rest(word.ended_ns)

    def _finish(self, _: Finish) -> None:
        crew = self._crew
        if crew is None:
            return
        if self._ticking is not None:
            self._ticking.kill()
        self._beat(crew)
        self._post.say(Report(ledger=crew.ledger.report()))

    def _tick(self, crew: Crew) -> None:
        """Say each whole second of run time how it goes, all workers at once."""
        while True:
            now = self._clock.now_ns()
            gevent.sleep((_SECOND_NS - now % _SECOND_NS) / _SECOND_NS)
            crew.catch_up()
            self._beat(crew)

    def _beat(self, crew: Crew) -> None:
        self._post.say(
            Beat(
                tick=crew.ledger.tick(),
                at_ns=time.monotonic_ns(),
                cpu_ns=time.process_time_ns(),
                rss_mib=rss_mib(),
                users=crew.users,
                offered=crew.offered,
                late=crew.late,
                uncertainty_ns=self._clock.uncertainty_ns,
                late_max_ms=crew.pacer.late_max_ns / _NS_MS,
                waiting=len(crew.waiting),
            )
        )

    def _ping(self) -> int:
        """Ask the leader what time it is. Raises gevent.Timeout."""
        number = time.monotonic_ns()
        answer = self._pongs[number] = AsyncResult()
        self._post.say(Ping(number=number))
        try:
            return int(answer.get(timeout=PONG_DEADLINE))
        finally:
            del self._pongs[number]

    def _on_pong(self, _: str, word: Pong) -> None:
        if word.number in self._pongs:
            self._pongs[word.number].set(word.now_ns)


def rss_mib() -> float:
    """Return how much of this process is in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / _MIB


def lift_limits() -> None:
    """Let this process open as many files as the system allows it: each user is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
