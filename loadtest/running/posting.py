"""What the leading process and its workers tell each other, as values, over Locust's own messages."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from loadtest.scenarios.plan import Plan

_FIELD: Final = "body"
Said = TypeVar("Said", bound="Word")


class Word(Struct, frozen=True, kw_only=True):
    """Something that is said. Its class is the name of the message."""


class Prepare(Word, frozen=True, kw_only=True):
    """To a worker, before a run: what is to be done, and which part of it is yours."""

    plan: Plan
    worker: int
    """From 0."""
    workers: int
    crowd: str
    """A file on the leader's machine. A worker that was given one of its own reads that."""
    outbox: str = ""
    """The folder of mails of a fresh stack; empty where there is none."""
    run: int
    """A number of the run's own, which is in every payload."""
    seed: int
    even: bool
    boot: str
    """Of the leader's machine: on the same one all clocks are the same clock."""


class Prepared(Word, frozen=True, kw_only=True):
    """From a worker: it is ready, or why it is not."""

    trouble: str = ""
    uncertainty_ns: int = 0
    """Of its clock against the leader's."""


class Began(Word, frozen=True, kw_only=True):
    """To all: a stage begins now."""

    index: int
    began_ns: int
    """In the time of the run, which is the leader's monotonic clock."""


class Rest(Word, frozen=True, kw_only=True):
    """To all: send nothing more of your own; what is under way may come."""

    ended_ns: int
    """When the last stage ended, in the time of the run."""


class Finish(Word, frozen=True, kw_only=True):
    """To all: hand in your report."""


class Beat(Word, frozen=True, kw_only=True):
    """From a worker, each second."""

    tick: bytes
    """Of its ledger: what changed."""
    at_ns: int
    cpu_ns: int
    """Of the process since it began."""
    rss_mib: float
    users: int
    offered: dict[int, int]
    """Sends that fell due and were taken up, by stage."""
    late: dict[int, int] = {}
    """Of those, the ones that were taken up too late."""
    late_max_ms: float
    """How far behind its schedule it ever was."""
    uncertainty_ns: int = 0
    """Of its clock, at worst so far."""
    waiting: int = 0
    """Sends for which no user was ready; they go out as soon as one is, and count from when they fell due."""


class Report(Word, frozen=True, kw_only=True):
    """From a worker, at the end: its whole ledger."""

    ledger: bytes


class Ping(Word, frozen=True, kw_only=True):
    """From a worker: what time is it?"""

    number: int


class Pong(Word, frozen=True, kw_only=True):
    """To a worker: so late was it when your question came."""

    number: int
    now_ns: int


class Post:
    """Says and hears words through a Locust runner, of either side."""

    def __init__(self, runner: Any) -> None:
        """`runner` is a Locust runner of any kind; its type is Locust's, which this file does not import."""
        self._runner = runner

    def say(self, word: Word, to: str | None = None) -> None:
        """Say something, to one worker or to whoever is at the other end."""
        body = {_FIELD: msgspec.msgpack.encode(word)}
        self._runner.send_message(_name_of(type(word)), body, to)

    def hear(self, kind: type[Said], listener: Callable[[str, Said], None]) -> None:
        """Call `listener(who, word)` for each word of a kind; it must not wait, since others are heard after it."""

        def heard(environment: Any, msg: Any) -> None:  # noqa: ARG001 - Locust's names
            listener(str(msg.node_id), msgspec.msgpack.decode(msg.data[_FIELD], type=kind))

        self._runner.custom_messages[_name_of(kind)] = (heard, False)


def _name_of(kind: type[Word]) -> str:
    return f"varde-{kind.__name__.lower()}"
