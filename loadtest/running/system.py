"""The system that a run is made against: a fresh one of ours with people in it, or one that runs already."""

import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import gevent
from gevent import socket

from loadtest.crowd.crowd import Crowd, read_crowd, run_seeding
from loadtest.exits import CouldNotRun
from loadtest.report.formatting import duration
from loadtest.scenarios.plan import SYSTEM_ACTIONS, Action, Options, Plan
from loadtest.stack.process import open_program
from loadtest.stack.stack import Stack, open_stack
from loadtest.users.target import find_target
from loadtest.watch.machine import Grade, Machine, check_machine
from loadtest.watch.servers import Look, figures_of, look_at

_REACH_SECONDS: Final = 5.0
_AFTERWARDS_SECONDS: Final = 120.0  # what a run may take beyond its plan: preparing and settling
_PASSABLE: Final = 0o711  # postgres runs as a user of its own and has to come through
_HOOK_SECONDS: Final = 300.0
_STOP_SECONDS: Final = 5.0
_TWO_WAYS: Final = 2_000.0  # from milliseconds of a round trip to seconds one way
Say = Callable[[str], None]


@contextmanager
def open_round_trip(url: str, milliseconds: float) -> Iterator[str]:
    """Have what goes to a relay and back take so long, and return its URL by that way."""
    where = urlsplit(url)
    program = (sys.executable, "-m", "chaos.proxy", str(where.port), str(milliseconds / _TWO_WAYS))
    with open_program(program, _STOP_SECONDS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None) as proxy:
        assert proxy.stdout is not None
        port = proxy.stdout.readline().strip()
        if not port:
            raise CouldNotRun("the proxy that delays did not start: it is in the room chaos/ of a checkout")
        yield where._replace(netloc=f"{where.hostname}:{int(port)}").geturl()


class System:
    """What is loaded: a fresh stack of ours to hurt and watch, or another's, whose owner gives us `--hook`."""

    def __init__(
        self, crowd: Crowd, file: Path, plan: Plan, say: Say, *, stack: Stack | None = None, hook: str | None = None
    ) -> None:
        """Raises CouldNotRun when the plan asks for something that nobody can do."""
        self.crowd, self.crowd_file, self.stack = crowd, file, stack
        self.seen: dict[str, float] = {}  # the figures of processes and relay nodes, once a second
        self.failed: list[str] = []  # why something could not be done, in words
        self._hook, self._say = hook, say
        asked = sorted({stage.action for stage in plan.stages if stage.action in SYSTEM_ACTIONS})
        if asked and stack is None and hook is None:
            raise CouldNotRun(
                f"{plan.scenario} needs somebody to {' and '.join(asked)}, and this system is not ours",
                "Give a program with --hook COMMAND: it is called with the action. Or run without --crowd.",
            )

    def act(self, action: Action) -> None:
        """Do what a stage asks for, and return when it is done. Raises nothing: what fails is kept."""
        done = "done"
        try:
            if self._hook is not None:
                command = (*shlex.split(self._hook), str(action))
                subprocess.run(command, check=True, timeout=_HOOK_SECONDS, stdin=subprocess.DEVNULL)  # noqa: S603 - the caller's own words
            elif self.stack is not None:
                calls = {
                    Action.KILL_NODE: self.stack.kill_node,
                    Action.DRAIN_NODES: self.stack.drain_nodes,
                    Action.REBALANCE: self.stack.rebalance,
                    Action.LOSE_BUS: self.stack.lose_bus,
                    Action.FAIL_OVER: self.stack.fail_over,
                }
                done = calls[action]()
            self._say(f"{action}: {done}")
        except (CouldNotRun, OSError, subprocess.SubprocessError) as error:
            self.failed.append(f"{action} failed: {str(error).splitlines()[0]}")
            self._say(self.failed[-1])

    def watch(self) -> None:
        """Look at a stack of ours once a second, until the greenlet is killed."""
        if self.stack is None:
            return
        before = Look(0.0, {}, {})
        while True:
            # Asked anew each time: a node that was killed comes back as another process.
            now = look_at(self.stack.pids, self.stack.metrics_urls.values())
            self.seen, before = figures_of(before, now), now
            gevent.sleep(1.0)


@contextmanager
def open_system(options: Options, plan: Plan, say: Say) -> Iterator[System]:
    """Have a system for as long as a block lasts. Raises CouldNotRun."""
    if options.crowd is not None:
        yield System(_find_crowd(options.crowd, plan), options.crowd, plan, say, hook=options.hook)
        return
    with tempfile.TemporaryDirectory(prefix="varde-load-") as name:
        folder, file = Path(name), Path(name) / "crowd"
        folder.chmod(_PASSABLE)
        nodes = options.nodes or plan.nodes
        say(f"a fresh stack: Postgres, API and {nodes} relay node{'s' * (nodes != 1)}")
        with ExitStack() as opened:
            stack = opened.enter_context(open_stack(folder, nodes=nodes, tls=options.tls, valkey=plan.valkey))
            if plan.round_trip_ms:
                stack.relay_url = opened.enter_context(open_round_trip(stack.relay_url, plan.round_trip_ms))
            order = stack.order(plan.seats, file, rooms=plan.rooms, seed=options.seed)
            crowd = run_seeding(order, say)
            check_crowd(crowd, plan, file)
            yield System(crowd, file, plan, say, stack=stack, hook=options.hook)


def _find_crowd(path: Path, plan: Plan) -> Crowd:
    try:
        crowd = read_crowd(path)
        target = find_target(crowd.relay_url)
        check_crowd(crowd, plan, path)
        socket.create_connection((target.host, target.address[1]), timeout=_REACH_SECONDS).close()
    except OSError as error:
        raise CouldNotRun(
            f"nobody answers at the relay that {path} names ({error.strerror or 'no answer in time'})",
            "Start the system, or make the file anew with `python -m loadtest seed`.",
        ) from error
    return crowd


def check_crowd(crowd: Crowd, plan: Plan, path: Path) -> None:
    """Raise CouldNotRun when the people of a file cannot carry a plan out."""
    again = "Make it anew with `python -m loadtest seed`."
    if len(crowd.seats) < plan.seats:
        raise CouldNotRun(f"{path} has {len(crowd.seats):,} people; the plan needs {plan.seats:,}", again)
    left_s = crowd.tickets_expire_ms / 1000 - time.time()
    if left_s <= 0:
        raise CouldNotRun(f"the tickets in {path} expired {duration(-left_s)} ago", again)
    if left_s < plan.seconds + _AFTERWARDS_SECONDS:
        raise CouldNotRun(f"the tickets in {path} expire in {duration(left_s)}, before the run would be over", again)


def warn_beforehand(options: Options, plan: Plan, say: Say, *, machine: Machine | None = None) -> None:
    """Say each warning of `preflight`; of a smoke run only faults. Remote workers are looked at by hand."""
    if options.remote:
        return
    small = options.smoke or plan.scenario == "smoke"
    for check in check_machine(plan.seats, options.workers, machine=machine):
        if check.grade is Grade.FAULT or (check.grade is Grade.WARNING and not small):
            say(f"preflight: {check.name}: {check.words}\n           do: {check.advice}")
