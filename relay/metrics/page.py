"""The page itself: every row of the table, read and written down in the text formats of Prometheus and OpenMetrics."""

from collections.abc import Iterable, Mapping
from typing import Final

import trio
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics_text
from prometheus_client.registry import Collector

from relay.metrics.histogram import Histogram
from relay.metrics.row import Kind, Row, Value
from relay.metrics.survey import take_survey
from relay.metrics.table import TABLE
from relay.services import Services

_END: Final = b"# EOF\n"


class _One(Collector):
    """A single metric, for the library's writers."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


async def make_page(services: Services, *, openmetrics: bool) -> tuple[bytes, str]:
    """Return all metrics as they are now, and the media type of the text."""
    survey = await take_survey(services.hub)
    parts = []
    for row in TABLE:
        value = row.read(services, survey)
        if value is not None:
            one = _One(_family(row, value))
            text: bytes = (openmetrics_text.generate_latest if openmetrics else generate_latest)(one)
            parts.append(text.removesuffix(_END))
            await trio.lowlevel.checkpoint()
    if openmetrics:
        return b"".join([*parts, _END]), openmetrics_text.CONTENT_TYPE_LATEST
    return b"".join(parts), CONTENT_TYPE_PLAIN_0_0_4


def _family(row: Row, value: Value) -> Metric:
    by_label = value if isinstance(value, Mapping) else {None: value}
    labels = [row.label] if row.label else []
    match row.kind:
        case Kind.HISTOGRAM:
            histogram = HistogramMetricFamily(row.name, row.meaning, labels=labels)
            for word, each in by_label.items():
                assert isinstance(each, Histogram)
                histogram.add_metric([word] if word else [], each.buckets, each.total)
            return histogram
        case Kind.COUNTER | Kind.GAUGE:
            family = (CounterMetricFamily if row.kind is Kind.COUNTER else GaugeMetricFamily)(
                row.name, row.meaning, labels=labels
            )
            for word, each in by_label.items():
                assert not isinstance(each, Histogram)
                family.add_metric([word] if word else [], each)
            return family
