"""What the leader notes down while a run lasts: stages as they went, the series, and what went wrong."""

from datetime import UTC, datetime
from typing import Final

from msgspec import Struct, field

from loadtest.report.result import Sample, WorkerFigures

_SECOND_NS: Final = 1_000_000_000


class Passage(Struct, kw_only=True):
    """One stage as it went. Times are nanoseconds of run time."""

    index: int
    began_ns: int
    ended_ns: int = 0
    offered: int = 0
    """By the generator, by the end."""
    late: int = 0
    """Of those, sends that the generator took up too late."""
    connected: int = 0
    """At the end."""
    broke: list[str] = field(default_factory=list)
    """Of a ramp: what gave way in it, in words, as it was seen when it ended."""

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return (self.ended_ns - self.began_ns) / _SECOND_NS

    @property
    def beats(self) -> int:
        """How many whole seconds of run time passed in it: so often each worker has told what it did."""
        return self.ended_ns // _SECOND_NS - self.began_ns // _SECOND_NS


class Record(Struct, kw_only=True):
    """One run, from its first stage on."""

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    began_ns: int = 0
    ended_ns: int = 0
    passages: list[Passage] = field(default_factory=list)
    series: list[Sample] = field(default_factory=list)
    peak: int = 0
    interrupted: bool = False
    expected_workers: int = 0
    missing_workers: int = 0
    workers: list[WorkerFigures] = field(default_factory=list)
    uncertainty_ns: int = 0
    ledgers: list[bytes] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    """Why nothing was learned, in words."""
    broken: list[str] = field(default_factory=list)
    """What of the system broke that must not, in words."""
    failure: str = ""
    """Why there was no run at all."""
