"""What master and workers tell each other over Locust's messages, some as msgpack. Times are ns of run time."""

from typing import Final

from msgspec import Struct

from loadtest.scenarios.plan import Plan

PREPARE: Final = "varde-prepare"  # to a worker, before a run: Prepare
PREPARED: Final = "varde-prepared"  # from a worker: why it is not ready, or ""; how uncertain its clock is
STAGE: Final = "varde-stage"  # to all: this stage, by number, began then; past the last one, what is under way may come
FINISH: Final = "varde-finish"  # to all: send the ledger
HEARTBEAT: Final = "varde-heartbeat"  # from a worker, each second of run time: Heartbeat
PING: Final = "varde-ping"  # from a worker, with a number: what time is it?
PONG: Final = "varde-pong"  # to a worker: the number, and the time when the question came


class Prepare(Struct, frozen=True, kw_only=True):
    """What is to be done in a run, and which part of it is the worker's own."""

    plan: Plan
    worker: int  # from 0
    workers: int
    crowd: str  # a file on the master's machine. A worker that was given one of its own reads that
    outbox: str = ""  # the folder of mails of a fresh stack; empty where there is none
    run: int  # a number of the run's own, which is in every payload
    seed: int
    even: bool
    boot: str  # of the master's machine: on the same one all clocks are the same clock


class Heartbeat(Struct, frozen=True, kw_only=True):
    """How a worker is. `cpu_ns` is of the process since it began."""

    tick: bytes = b""  # of its ledger: what changed
    ledger: bytes = b""  # all of it, at the end
    at_ns: int = 0
    cpu_ns: int = 0
    rss_mib: float = 0.0
    users: int = 0
    offered: dict[int, int] = {}  # sends that fell due, by stage
    late: dict[int, int] = {}  # of those, the ones that were taken up too late, whatever the system did
    late_max_ms: float = 0.0
    uncertainty_ns: int = 0  # of its clock, at worst so far
    waiting: int = 0
    """Sends for which no user was ready; they go out as soon as one is, and count from when they were due."""
    away: int = 0
    """At the end of a run: users who want to be there, and are cut off or in a pause before they try again."""
