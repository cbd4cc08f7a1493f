"""The workers as their leader knows them: who is there, what each said last, how hard it works."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

import gevent
from gevent.event import Event

from loadtest.ledger.clock import RunClock
from loadtest.ledger.reports import Tick, merge_ticks
from loadtest.report.result import WorkerFigures
from loadtest.running.effort import Effort
from loadtest.running.posting import Beat, Ping, Pong, Post, Prepared, Report

MISSING: Final = "missing"
_GLANCE: Final = 0.2
"""Seconds between two looks at who is there: somebody who goes missing says nothing."""


class Worker:
    """One of them."""

    def __init__(self, number: int) -> None:
        self.name = f"worker-{number + 1}"
        self.effort = Effort()
        self.prepared: Prepared | None = None
        self.beat: Beat | None = None
        self.ledger: bytes | None = None
        self.connected = 0
        self._tick = Tick()

    def hear(self, beat: Beat) -> None:
        """Take in what it says each second."""
        self.beat = beat
        self._tick.then(merge_ticks((beat.tick,)))
        self.connected = self._tick.connected
        self.effort.add(beat.at_ns, beat.cpu_ns)

    def take_tick(self) -> Tick:
        """Return what came since it was asked last; who said nothing is where it was."""
        taken, self._tick = self._tick, Tick()
        taken.connected, self._tick.connected = self.connected, self.connected
        return taken

    def figures(self) -> WorkerFigures:
        """How it fared."""
        beat = self.beat
        return WorkerFigures(
            name=self.name,
            cpu_max_percent=round(self.effort.max_percent, 1),
            cpu_mean_percent=round(self.effort.mean_percent, 1),
            rss_mib=0.0 if beat is None else round(beat.rss_mib, 1),
            late_max_ms=0.0 if beat is None else round(beat.late_max_ms, 3),
        )


class Roll:
    """Everybody who is part of a run. Words of others are not heard."""

    def __init__(self, runner: Any, post: Post, clock: RunClock, lost: Callable[[], int] = lambda: 0) -> None:
        """`runner` is Locust's, which knows whose heart beats; `lost` counts processes of ours that have ended."""
        self._runner = runner
        self._lost = lost
        self._post = post
        self._clock = clock
        self._moved = Event()
        self.workers: dict[str, Worker] = {}
        post.hear(Prepared, self._on_prepared)
        post.hear(Beat, self._on_beat)
        post.hear(Report, self._on_report)
        post.hear(Ping, self._on_ping)

    def call(self) -> list[str]:
        """Begin anew with those who are there, and return who that is."""
        clients = getattr(self._runner, "clients", None)
        there = ["local"] if clients is None else _in_turn(each.id for each in clients.all if each.state != MISSING)
        self.workers = {who: Worker(number) for number, who in enumerate(there)}
        return there

    def missing(self) -> int:
        """Count those who have gone."""
        return max(sum(map(self._is_missing, self.workers)), self._lost())

    def wait_until_all(self, done: str, seconds: float, give_up: Event | None = None) -> bool:
        """Wait until a field is set of every worker who is still there. Returns whether it is of all."""
        with gevent.Timeout(seconds, False):
            while not (give_up is not None and give_up.is_set()):
                silent = [who for who, worker in self.workers.items() if getattr(worker, done) is None]
                if not silent:
                    return True
                if all(map(self._is_missing, silent)) or len(silent) <= self._lost():
                    return False
                self._moved.clear()
                self._moved.wait(_GLANCE)
        return False

    def _is_missing(self, who: str) -> bool:
        clients = getattr(self._runner, "clients", None)
        return clients is not None and (who not in clients or clients[who].state == MISSING)

    def take_tick(self) -> Tick:
        """Return what all of them said since it was asked last, as one."""
        whole = Tick()
        for worker in self.workers.values():
            whole.beside(worker.take_tick())
        return whole

    def beats(self) -> list[Beat]:
        """Return the last word of everybody who has said one."""
        return [worker.beat for worker in self.workers.values() if worker.beat is not None]

    def uncertainty_ns(self) -> int:
        """Return how uncertain anybody's clock was at worst, in the whole run."""
        prepared = (worker.prepared.uncertainty_ns for worker in self.workers.values() if worker.prepared is not None)
        return max((*prepared, *(beat.uncertainty_ns for beat in self.beats())), default=0)

    def _on_prepared(self, who: str, word: Prepared) -> None:
        if who in self.workers:
            self.workers[who].prepared = word
            self._moved.set()

    def _on_beat(self, who: str, word: Beat) -> None:
        if who in self.workers:
            self.workers[who].hear(word)

    def _on_report(self, who: str, word: Report) -> None:
        if who in self.workers:
            self.workers[who].ledger = word.ledger
            self._moved.set()

    def _on_ping(self, who: str, word: Ping) -> None:
        self._post.say(Pong(number=word.number, now_ns=self._clock.now_ns()), who)


def _in_turn(clients: Iterable[str]) -> list[str]:
    """Return workers in the order in which Locust deals users to them: host by host in turn."""
    on_host: Counter[str] = Counter()
    places = []
    for client in sorted(clients):
        host = client.split("_")[0]
        places.append((on_host[host], client))
        on_host[host] += 1
    return [client for _, client in sorted(places)]
