"""Reading a node's metrics as Prometheus does."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from trio.testing import wait_all_tasks_blocked

from relay.metrics.exposition import render_page
from relay.services import Services
from tests.relay.memory_node import MemoryNode

Series: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
Samples: TypeAlias = Mapping[Series, float]


def parse(page: str, *, openmetrics: bool = False) -> Samples:
    """Return every sample of a page by its name and labels. Fails on one that occurs twice."""
    samples: dict[Series, float] = {}
    for family in (parse_openmetrics if openmetrics else parse_text)(page):
        for sample in family.samples:
            series = (sample.name, tuple(sorted(sample.labels.items())))
            assert series not in samples, series
            samples[series] = sample.value
    return samples


async def scrape(services: Services, *, openmetrics: bool = False) -> Samples:
    """Return every sample of a node."""
    page, _ = await render_page(services, openmetrics=openmetrics)
    return parse(page.decode(), openmetrics=openmetrics)


class Difference:
    """What moved between two looks: `moved("name", word)` is by how much, the word being that of its only label."""

    def __init__(self, before: Samples, after: Samples) -> None:
        self._before = before
        self._after = after

    def moved(self, name: str, word: str | None = None) -> float:
        """By how much a series moved. Fails when there is none."""
        found = [
            key for key in self._after if key[0] == name and [value for _, value in key[1]] == ([word] if word else [])
        ]
        assert len(found) == 1, (name, word, found)
        return self._after[found[0]] - self._before[found[0]]

    def words(self, name: str) -> dict[str, float]:
        """Return what moved of a metric with a label, by its words."""
        series = [key for key in self._after if key[0] == name]
        assert series, name
        moved = {key[1][0][1]: self._after[key] - self._before[key] for key in series}
        return {word: count for word, count in moved.items() if count}


async def watch(node: MemoryNode, story: Callable[[], Awaitable[object]]) -> Difference:
    """Return what moved while a story was told, when everybody is done with it."""
    before = await scrape(node.services)
    await story()
    await wait_all_tasks_blocked()
    return Difference(before, await scrape(node.services))
