"""What the servers needed: processor, memory, how late their loops were, and whatever else the watch sampled."""

from typing import Final

from loadtest.report.page.axis import value_axis
from loadtest.report.page.figures import unit_of
from loadtest.report.page.markup import Markup, note, section, tag
from loadtest.report.page.plot import Chart, draw
from loadtest.report.page.seconds import Seconds, values_of

_TITLES: Final = {
    "cpu_percent": "Processor, percent of one core",
    "rss_mib": "Memory held (RSS)",
    "lateness_ms": "Lateness of the loop, p99 of each second",
    "commit_ms": "Commits, p99 of each second",
    "fan_out_ms": "Fan-out, p99 of each second",
    "connections": "Connections, as the server counts them",
    "commits_per_second": "Messages committed",
    "closes_per_second": "Connections closed",
    "outbox_deepest_kib": "Deepest outbox",
    "journal_waiting": "Messages waiting for the journal",
    "fds": "Open files",
}
_COLOURS: Final = 8


def server_of(seconds: Seconds) -> Markup | None:
    """Return the charts, the best known first; None when nothing was sampled."""
    keys = sorted({key for sample in seconds.samples for key in sample.server})
    if not keys:
        return None
    processes = sorted({_process(key) for key in keys})
    colours = {process: 1 + place % _COLOURS for place, process in enumerate(processes)}
    measures: dict[str, list[str]] = {}
    for key in keys:
        measures.setdefault(_measure(key), []).append(key)
    order = sorted(measures, key=lambda measure: (_rank(measure), measure))
    charts = [_chart(measure, measures[measure], seconds, colours) for measure in order]
    said = note("Samples of each second; of a latency or a lateness the worst one that a point stands for.")
    return section("server", "The servers", tag("div", *map(draw, charts), class_="charts"), said)


def _process(key: str) -> str:
    return key.rpartition(".")[0] or "server"


def _measure(key: str) -> str:
    return key.rpartition(".")[2]


def _rank(measure: str) -> int:
    return list(_TITLES).index(measure) if measure in _TITLES else len(_TITLES)


def _chart(measure: str, keys: list[str], seconds: Seconds, colours: dict[str, int]) -> Chart:
    unit = unit_of(measure)
    lines = [seconds.server(key, _process(key), colours[_process(key)], unit) for key in keys]
    return Chart(
        title=_TITLES.get(measure, measure.removesuffix("_ms").replace("_", " ").capitalize()),
        x=seconds.axis,
        y=value_axis(values_of(lines), unit),
        lines=lines,
        bands=seconds.bands,
        events=seconds.events,
        readings=seconds.readings,
    )
