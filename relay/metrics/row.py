"""One metric as it is documented: its name, its one label, what it means, and what to do about it."""

import enum
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from relay.metrics.histogram import Histogram
from relay.metrics.survey import Survey
from relay.services import Services

Value: TypeAlias = float | Histogram | Mapping[str, float] | Mapping[str, Histogram]
"""One number or histogram, or one for each word of the label."""


class Kind(enum.StrEnum):
    """The types of Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Row(NamedTuple):
    """`read` returns None for what this machine does not tell."""

    name: str
    kind: Kind
    label: str | None
    meaning: str
    advice: str
    read: Callable[[Services, Survey], Value | None]
