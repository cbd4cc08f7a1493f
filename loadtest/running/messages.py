"""What the master and its workers tell each other, as values, over Locust's own messages."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from loadtest.scenarios.plan import Plan

_FIELD: Final = "body"
M = TypeVar("M", bound="Message")


class Message(Struct, frozen=True, kw_only=True):
    """Something that is said. Times are nanoseconds of run time, which is the master's monotonic clock."""


class Prepare(Message, frozen=True, kw_only=True):
    """To a worker, before a run: what is to be done, and which part of it is its own."""

    plan: Plan
    worker: int  # from 0
    workers: int
    crowd: str  # a file on the master's machine. A worker that was given one of its own reads that
    outbox: str = ""  # the folder of mails of a fresh stack; empty where there is none
    run: int  # a number of the run's own, which is in every payload
    seed: int
    even: bool
    boot: str  # of the master's machine: on the same one all clocks are the same clock


class Prepared(Message, frozen=True, kw_only=True):
    """From a worker: it is ready, or why it is not; and how uncertain its clock is against the master's."""

    trouble: str = ""
    uncertainty_ns: int = 0


class StageBegan(Message, frozen=True, kw_only=True):
    """To all: a stage begins now."""

    index: int
    began_ns: int


class Settle(Message, frozen=True, kw_only=True):
    """To all: the last stage ended then; send nothing more of your own, what is under way may come."""

    ended_ns: int


class Finish(Message, frozen=True, kw_only=True):
    """To all: hand in your report."""


class Heartbeat(Message, frozen=True, kw_only=True):
    """From a worker, each second of run time. `cpu_ns` is of the process since it began."""

    tick: bytes  # of its ledger: what changed
    at_ns: int
    cpu_ns: int
    rss_mib: float
    users: int
    offered: dict[int, int]  # sends that fell due, by stage
    late: dict[int, int] = {}  # of those, the ones that were taken up too late, whatever the system did
    late_max_ms: float
    uncertainty_ns: int = 0  # of its clock, at worst so far
    waiting: int = 0
    """Sends for which no user was ready; they go out as soon as one is, and count from when they fell due."""


class Report(Message, frozen=True, kw_only=True):
    """From a worker, at the end: its whole ledger."""

    ledger: bytes


class Ping(Message, frozen=True, kw_only=True):
    """From a worker: what time is it?"""

    number: int


class Pong(Message, frozen=True):
    """To a worker: so late was it when that question came."""

    number: int
    now_ns: int


class Channel:
    """Sends and receives messages through a Locust runner of either side; its type is Locust's, not imported here."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner

    def send(self, message: Message, to: str | None = None) -> None:
        """Send to one worker, or to whoever is at the other end."""
        self._runner.send_message(_name_of(type(message)), {_FIELD: msgspec.msgpack.encode(message)}, to)

    def listen(self, kind: type[M], listener: Callable[[M], object]) -> None:
        """Call `listener(message)` for each of a kind; it must not wait: others are heard after it."""
        self.listen_to_each(kind, lambda _, message: listener(message))

    def listen_to_each(self, kind: type[M], listener: Callable[[str, M], object]) -> None:
        """The same with whose it is, `listener(client, message)`: for the master."""

        def received(environment: Any, msg: Any) -> None:  # noqa: ARG001 - Locust's names
            listener(str(msg.node_id), msgspec.msgpack.decode(msg.data[_FIELD], type=kind))

        self._runner.custom_messages[_name_of(kind)] = (received, False)


def _name_of(kind: type[Message]) -> str:
    return f"varde-{kind.__name__.lower()}"
