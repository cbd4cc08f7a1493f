"""The definition of one metric: its name and label, what it means, what to do about it, and how it is read."""

import enum
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Generic, NamedTuple, ParamSpec, TypeAlias, TypeVar

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics_text
from prometheus_client.registry import Collector

from observability.histogram import Histogram

P = ParamSpec("P")
L = TypeVar("L", bound=str)

Value: TypeAlias = float | Histogram | Mapping[str, float] | Mapping[str, Histogram]
"""One number or histogram, or one for each word of the label."""

_OPENMETRICS_END: Final = b"# EOF\n"


class Kind(enum.StrEnum):
    """The types of Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Definition(NamedTuple, Generic[P]):
    """One metric. `read` takes what the program hands to it, and returns None for what cannot be told just now."""

    name: str
    kind: Kind
    label: str | None
    meaning: str
    advice: str
    read: Callable[P, Value | None]


class Page(NamedTuple):
    """What Prometheus is answered with."""

    text: bytes
    media_type: str


def by_label(counts: Mapping[L, int]) -> Mapping[str, float]:
    """Return counts by the words of an enum."""
    return {str(word): count for word, count in counts.items()}


def render_metric(definition: Definition[P], value: Value, *, openmetrics: bool) -> bytes:
    """Return one metric in one of the two text formats, without the end mark of OpenMetrics."""
    one = _One(_family(definition, value))
    text: bytes = (openmetrics_text.generate_latest if openmetrics else generate_latest)(one)
    return text.removesuffix(_OPENMETRICS_END)


def make_page(parts: Iterable[bytes], *, openmetrics: bool) -> Page:
    """Return the page of all rendered metrics."""
    if openmetrics:
        return Page(b"".join([*parts, _OPENMETRICS_END]), openmetrics_text.CONTENT_TYPE_LATEST)
    return Page(b"".join(parts), CONTENT_TYPE_PLAIN_0_0_4)


class _One(Collector):
    """One metric, as the library's writers take it."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


def _family(definition: Definition[P], value: Value) -> Metric:
    by_word = value if isinstance(value, Mapping) else {None: value}
    labels = [definition.label] if definition.label else []
    match definition.kind:
        case Kind.HISTOGRAM:
            histogram = HistogramMetricFamily(definition.name, definition.meaning, labels=labels)
            for word, each in by_word.items():
                assert isinstance(each, Histogram)
                histogram.add_metric([word] if word else [], each.buckets, each.total)
            return histogram
        case Kind.COUNTER | Kind.GAUGE:
            family = (CounterMetricFamily if definition.kind is Kind.COUNTER else GaugeMetricFamily)(
                definition.name, definition.meaning, labels=labels
            )
            for word, each in by_word.items():
                assert not isinstance(each, Histogram)
                family.add_metric([word] if word else [], each)
            return family
