"""What one worker of the generator can do by itself, in this process, against a node without a database.

A message costs the node less than half of what it costs a worker, which sends, receives and keeps account of it.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import sub
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import gevent
import psutil
from msgspec import Struct

from loadtest.client.protocol import PATH
from loadtest.crowd.crowd import Crowd, Room, Seat, read_crowd, write_crowd
from loadtest.exits import CouldNotRun
from loadtest.ledger.reports import Totals, read
from loadtest.ledger.run_time import RunClock
from loadtest.report.result import CPU_LIMIT
from loadtest.running.messages import Prepare
from loadtest.scenarios.plan import Kind, Plan, Stage
from loadtest.stack.process import HOST, open_program
from loadtest.stack.rooms import Plan as Rooms
from loadtest.stack.rooms import account_of, conversation_of, device_of, make_members, profile_of
from loadtest.watch.machine import fingerprint

_RATES: Final = (0, *(500 << doubled for doubled in range(8)))  # nothing, then up to 64,000 a second
_DONE_SHARE: Final = 0.97
_UNDER_WAY: Final = 100  # users that connect at the same time
_CONNECT_SECONDS: Final = 60.0
_END_SECONDS: Final = 5.0
_TICKETS_MS: Final = 12 * 3_600_000  # they are good for a day


class Step(Struct, frozen=True):
    """Some seconds at one rate. Percent of one core."""

    offered_per_second: float
    done_per_second: float
    cpu_percent: float
    server_cpu_percent: float
    late_max_ms: float


class Calibration(Struct, frozen=True, kw_only=True):
    """Of one worker process. A message is sent, acked, received by its one reader, and confirmed."""

    users: int
    connects_per_second: float  # as they went, with the node's own part in the handshake
    connect_cpu_us: float
    idle_cpu_percent: float
    kib_per_user: float
    message_cpu_us: float | None
    messages_per_second: float | None  # at 90 % of a core, by what a message costs at the highest rate that went well
    steps: list[Step]
    environment: dict[str, Any]


@contextmanager
def open_node(users: int, folder: Path) -> Iterator[tuple[psutil.Process, Path]]:
    """Run a node for so many users in pairs: its process, and the file of their crowd, in `folder`."""
    rooms, file = Rooms(f"{-(-users // 2)}x2"), folder / "calibrate.crowd"
    relay_key, keys = make_members(folder, rooms.members)
    command = (sys.executable, "-m", "loadtest.stack.node", rooms.text, str(folder))
    with open_program(command, _END_SECONDS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None) as process:
        said = process.stdout.readline() if process.stdout else b""
        if not said:
            raise CouldNotRun("the node did not start")
        seats = tuple(
            Seat(account_of(number), profile_of(number), device_of(number), *key, "", (number // 2,))
            for number, key in enumerate(keys[: rooms.members])
        )
        pairs = range(rooms.members // 2)
        crowd = Crowd(
            relay_url=f"ws://{HOST}:{json.loads(said)['port']}{PATH}",
            api_url="",
            relay_key=relay_key,
            payload_key=os.urandom(32),
            tickets_expire_ms=time.time_ns() // 1_000_000 + _TICKETS_MS,
            seats=seats,
            rooms=tuple(Room(conversation_of(pair), (2 * pair, 2 * pair + 1), 1, group=True) for pair in pairs),
        )
        write_crowd(file, crowd)
        yield psutil.Process(process.pid), file


def measure_generator(users: int, seconds: float, say: Callable[[str], None]) -> Calibration:
    """Measure one worker with so many users, a few seconds for each rate. Raises CouldNotRun."""
    from loadtest.running.worker import Load  # noqa: PLC0415 - it brings in Locust, which patches the process

    users += users % 2
    each: dict[str, Any] = {"seconds": seconds, "users": users, "spawn_per_second": users}
    stages = tuple(Stage(name=str(rate), messages_per_second=rate, **each) for rate in _RATES)
    plan = Plan(scenario="calibrate", kind=Kind.MESSAGING, stages=stages, seats=users)
    task = Prepare(plan=plan, worker=0, workers=1, crowd="", run=0, seed=0, even=True, boot="")
    with TemporaryDirectory() as folder, open_node(users, Path(folder)) as (server, crowd):
        load, process, living = Load(read_crowd(crowd), task, RunClock()), psutil.Process(), list[Any]()

        def spent() -> tuple[float, float, float]:
            """Seconds of the clock, and of CPU of this process and of the server."""
            return time.monotonic(), time.process_time(), sum(server.cpu_times()[:2])

        def measure(index: int) -> Step:
            load.ledger.tick()
            load.pacer.late_max_ns, before = 0, spent()
            load.open_stage(index, time.monotonic_ns())
            gevent.sleep(seconds)
            took, cpu, server_cpu = map(sub, spent(), before)
            done = read(load.ledger.tick(), Totals).sum_of().received
            return Step(
                _RATES[index], done / took, 100 * cpu / took, 100 * server_cpu / took, load.pacer.late_max_ns / 1e6
            )

        try:
            say(f"{users:,} users connect")
            memory, before = process.memory_info().rss, spent()
            with gevent.Timeout(_CONNECT_SECONDS, CouldNotRun("not every user connected: see `loadtest preflight`")):
                while len(load.population.ready) < users:
                    if len(living) < min(users, load.population.connected + _UNDER_WAY):
                        living.append(gevent.spawn(lambda: load.enter().live()))
                    else:
                        gevent.sleep(0.005)
            took, cpu, _ = map(sub, spent(), before)
            grown = process.memory_info().rss - memory
            say("all users are idle")
            idle, steps, good = measure(0), list[Step](), list[Step]()
            while len(good) == len(steps) < len(_RATES) - 1:
                steps.append(step := measure(len(steps) + 1))
                cores = f"CPU {step.cpu_percent:.0f} % (node {step.server_cpu_percent:.0f} %)"
                late = f"{step.late_max_ms:.1f} ms late at worst"
                say(f"{step.offered_per_second:,} messages/s: {step.done_per_second:,.0f} done, {cores}, {late}")
                # What was offered was done, with processor time to spare.
                if step.cpu_percent < CPU_LIMIT and step.done_per_second >= _DONE_SHARE * step.offered_per_second:
                    good.append(step)
        finally:
            load.open_stage(len(stages), time.monotonic_ns())
            load.close()
            gevent.joinall(living, timeout=_END_SECONDS)
    cost = (good[-1].cpu_percent - idle.cpu_percent) / 100 / good[-1].offered_per_second if good else None
    return Calibration(
        users=users,
        connects_per_second=round(users / took, 1),
        connect_cpu_us=round(cpu / users * 1e6, 1),
        idle_cpu_percent=round(idle.cpu_percent, 2),
        kib_per_user=round(grown / 1024 / users, 1),
        message_cpu_us=None if cost is None else round(cost * 1e6, 1),
        messages_per_second=None if not cost else round((CPU_LIMIT - idle.cpu_percent) / 100 / cost),
        steps=steps,
        environment=fingerprint(),
    )
