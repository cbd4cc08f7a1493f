"""The definition of one metric: its name and label, what it means, what to do about it, and how it is read."""

import enum
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias, TypeVar

from msgspec import Struct

from relay.metrics.histogram import Histogram
from relay.metrics.labels import CLOSE_CODES
from relay.metrics.snapshot import Snapshot
from relay.services import Services
from varde_contract.frames import tag_of

L = TypeVar("L", bound=str)

Value: TypeAlias = float | Histogram | Mapping[str, float] | Mapping[str, Histogram]
"""One number or histogram, or one for each word of the label."""


class Kind(enum.StrEnum):
    """The types of Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Definition(NamedTuple):
    """One metric. `read` returns None for what this machine does not report."""

    name: str
    kind: Kind
    label: str | None
    meaning: str
    advice: str
    read: Callable[[Services, Snapshot], Value | None]


def by_label(counts: Mapping[L, int]) -> Mapping[str, float]:
    """Return counts by the words of an enum."""
    return {str(word): count for word, count in counts.items()}


def by_tag(counts: Mapping[type[Struct], int]) -> Mapping[str, float]:
    """Return counts by the tags of frames or events."""
    return {tag_of(kind): count for kind, count in counts.items()}


def by_close_code(counts: Mapping[int | None, int]) -> Mapping[str, float]:
    """Return counts by the labels of close codes."""
    return {CLOSE_CODES[code]: count for code, count in counts.items()}
