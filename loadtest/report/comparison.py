"""Several runs beside each other: what changed between two, and what a node, a connection and a message cost.

A change counts beyond the tolerance and the noise of both; a fault has no noise. Costs are slopes through several runs.
"""

import enum
import math
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from statistics import fmean, median, stdev
from typing import Final

import click
from msgspec import Struct

from loadtest.exits import CouldNotRun
from loadtest.ledger.reports import Histogram, read_histogram
from loadtest.report.formatting import KINDS, PERCENTILES, figure, flat, unit_of
from loadtest.report.result import Latency, Result

DEVIATIONS: Final = 3.0
"""To either side. A comparison looks at dozens of figures; with two deviations one of them would be a false alarm."""
# Measurements beyond a percentile, below which it is not compared: it would be a matter of single messages.
_LEAST_COUNT: Final = 20
_UNLIKE: Final = 0.01
_BATCHES: Final = 10  # seconds next to each other are alike; the means of ten long stretches are independent enough
_SERVER: Final = ("cpu_percent", "rss_mib", "lateness_ms")
_ALIKE: Final = {"scenario": "scenario", "number of users": "users.asked", "target rate": "rate.target_per_second"}
# Words in the keys of an environment by which one machine is told from another.
_MACHINE: Final = ("cpu", "core", "memory", "kernel")


class Change(enum.StrEnum):
    """What became of one figure, in the order in which a reader asks."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "same"  # no more than noise, or than what is tolerated


_COLOURS: Final = {Change.WORSE: "red", Change.BETTER: "green", Change.SAME: None}


class Figure(Struct, frozen=True):
    """A figure of one run and the interval of its noise. Without a tolerance of its own it has the comparison's."""

    value: float
    noise: tuple[float, float]
    tolerance: float | None = None
    more_is_better: bool = False


class Row(Struct, frozen=True):
    """One figure of both runs."""

    key: str
    before: Figure
    after: Figure
    change: Change


class Comparison(Struct, frozen=True):
    """`obstacles` say why the runs cannot be compared; `environment` is what differs: key, before, after."""

    rows: list[Row]
    obstacles: list[str]
    environment: list[tuple[str, str, str]]

    def keys(self, change: Change) -> set[str]:
        """Return the keys of what became so."""
        return {row.key for row in self.rows if row.change is change}


def count_of(count: float) -> Figure:
    """Return a count of events that come one by one, with the noise of Poisson's distribution."""
    about = DEVIATIONS * math.sqrt(max(1.0, count))
    return Figure(float(count), (max(0.0, count - about), count + about))


# An open model offers the same rate each time, so that a few percent less done is a change.
_RATES: Final = ("users.connected", "rate.achieved_per_second", "rate.deliveries_per_second")
_FAULTS: Final = tuple(f"messages.{name}" for name in ("lost", "duplicated", "disordered", "undecryptable", "astray"))
_COUNTS: Final = (*(f"messages.{name}" for name in ("refused", "unacked", "after_gap", "resent")), "users.failed")


def compare_results(before: Result, after: Result, *, tolerance: float = 0.1) -> Comparison:
    """Compare two runs; `tolerance` is the share by which a figure may grow. Raises CouldNotRun."""
    first, second = dict(_figures(before)), dict(_figures(after))
    obstacles, rows = list(_obstacles(before, after)), list[Row]()
    for key in (key for key in first if key in second):
        one, other = first[key], second[key]
        # Of what is 0 in both only faults are said: that there were none.
        if one.value or other.value or one.tolerance == 0.0:
            rows.append(Row(key, one, other, Change.SAME if obstacles else _change(one, other, tolerance)))
    # A run without a fingerprint, as one that failed early, is not another machine.
    old, new = dict(flat(before.environment)), dict(flat(after.environment))
    keys = sorted(old.keys() | new.keys()) if old and new else ()
    differing = [(k, old.get(k, "nothing"), new.get(k, "nothing")) for k in keys if old.get(k) != new.get(k)]
    return Comparison(rows, obstacles, differing)


def _change(before: Figure, after: Figure, tolerance: float) -> Change:
    allowed = (tolerance if before.tolerance is None else before.tolerance) * before.value
    grew = after.value - before.value > allowed and after.noise[0] > before.noise[1]
    fell = before.value - after.value > allowed and after.noise[1] < before.noise[0]
    if not (grew or fell):
        return Change.SAME
    return Change.BETTER if grew is before.more_is_better else Change.WORSE


def _obstacles(before: Result, after: Result) -> Iterator[str]:
    for name, result in (("the first", before), ("the second", after)):
        if not result.learned:
            why = f": {'; '.join(result.reasons)}" if result.reasons else ""
            yield f"{name} run is {result.verdict.value}{why}"
    for words, key in _ALIKE.items():
        first, second = attrgetter(key)(before), attrgetter(key)(after)
        if first != second:
            yield f"the {words} differs: {first} and {second}"
    judged = [sum(stage.seconds for stage in result.stages if stage.judged) for result in (before, after)]
    if min(judged) and max(judged) - min(judged) > _UNLIKE * max(judged):
        yield f"the judged stages differ: {judged[0]:g} s and {judged[1]:g} s"


def _figures(result: Result) -> Iterator[tuple[str, Figure]]:
    """What of a run is compared, by its key."""
    for kind in KINDS:
        yield from _percentiles(result, f"latency_ms.{kind}", getattr(result.latency_ms, kind))
    for key in (*_RATES, *_FAULTS, *_COUNTS):
        value, rate = float(attrgetter(key)(result)), key in _RATES
        exact = Figure(value, (value, value), 0.02 if rate else 0.0, more_is_better=rate)
        yield key, count_of(value) if key in _COUNTS else exact
    for endpoint in result.endpoints:
        yield from _percentiles(result, f"endpoints.{endpoint.name}", endpoint.latency_ms)
        yield f"endpoints.{endpoint.name}.failures", count_of(sum(endpoint.failures.values()))
    for key in sorted({key for sample in result.series for key in sample.server}):
        if key.rpartition(".")[2] in _SERVER and (mean := mean_of(result, key)) is not None:
            yield f"server.{key}", mean


def _percentiles(result: Result, key: str, latency: Latency) -> Iterator[tuple[str, Figure]]:
    """With both kinds of noise, whichever is wider to either side."""
    histogram = read_histogram(latency.hdr)
    for name, percentile in PERCENTILES.items():
        value = histogram.percentile_ms(percentile)
        if value is not None and histogram.count * (1 - percentile / 100) >= _LEAST_COUNT:
            low, high = interval_of(histogram, percentile, DEVIATIONS)
            unsteady = 1 + _unsteadiness(result, percentile)
            yield f"{key}.{name}", Figure(value, (min(low, value / unsteady), max(high, value * unsteady)))


def interval_of(histogram: Histogram, percentile: float, deviations: float) -> tuple[float, float]:
    """Return between which milliseconds the true percentile lies, by order statistics.

    The rank of a percentile among `count` measurements is binomial; `deviations` of it to either side are taken.
    This takes measurements as independent, which a stall is not: it is the least noise there can be.
    """
    share, count = percentile / 100, histogram.count
    about = 100 * (deviations * math.sqrt(count * share * (1 - share)) + 0.5) / count
    places = (max(0.0, percentile - about), min(100.0, percentile + about))
    low, high = (value or 0.0 for value in histogram.percentiles_ms(places))
    return low, high


def mean_of(result: Result, key: str) -> Figure | None:
    """Return the mean of a server's series over the judged stages and its noise, by the method of batch means."""
    values = [sample.server[key] for sample in result.judged_series if key in sample.server]
    if not values:
        return None
    mean, (_, error) = fmean(values), _batch_means(values, fmean)
    return Figure(mean, (min(values), max(values)) if error is None else (mean - error, mean + error))


def _unsteadiness(result: Result, percentile: float) -> float:
    """Return the share by which latency differs from one stretch of a run to the next, as the error of their mean.

    Messages of one second share its fate, so that the order statistics of all of them promise too much. The median of
    each stretch's seconds is taken, which a single stall does not move. 0 for a run too short to tell.
    """
    seconds = [sample.p99_ms if percentile > PERCENTILES["p50"] else sample.p50_ms for sample in result.judged_series]
    mean, error = _batch_means([value for value in seconds if value is not None], median)
    return 0.0 if error is None else error / max(mean, 1e-9)


def _batch_means(values: list[float], middle: Callable[[list[float]], float]) -> tuple[float, float | None]:
    """The mean over ten stretches and its error; the error is None where there are too few values to tell."""
    size = len(values) // _BATCHES
    if size < 2:  # noqa: PLR2004 - a stretch of one second is no stretch
        return 0.0, None
    batches = [middle(values[at * size : (at + 1) * size]) for at in range(_BATCHES)]
    return fmean(batches), DEVIATIONS * stdev(batches) / math.sqrt(_BATCHES)


def table_of(comparison: Comparison, names: tuple[str, str], *, everything: bool = True) -> str:
    """Return the comparison for a terminal, what is worse first, with colours that click takes out of files."""
    lines = list[str]()
    if comparison.obstacles:
        lines += [click.style("These runs cannot be compared:", bold=True)]
        lines += [*(f"  - {obstacle}" for obstacle in comparison.obstacles), ""]
    if comparison.environment:
        another = any(word in key.lower() for key, _, _ in comparison.environment for word in _MACHINE)
        words = "Another machine or kernel: the figures tell of both it and the code." if another else "What differs:"
        rows = [(f"  {key}", before, "->", after) for key, before, after in comparison.environment]
        lines += [click.style(words, fg="yellow" if another else None, bold=True), *_columns(rows, "<<<<"), ""]
    changes = [change for change in Change if everything or change is not Change.SAME]
    if shown := [row for change in changes for row in comparison.rows if row.change is change]:
        first, *others = _columns([("", *names, "change", "noise", ""), *map(_cells, shown)], "<>>>><")
        lines.append(click.style(first, dim=True))
        for row, text in zip(shown, others, strict=True):
            lines.append(click.style(text, fg=_COLOURS[row.change], bold=row.change is Change.WORSE))
    worse, better = len(comparison.keys(Change.WORSE)), len(comparison.keys(Change.BETTER))
    words, colour = f"No regression: {better or 'no'} figures are better beyond noise.", "green"
    if comparison.obstacles:
        words, colour = "Not comparable.", ""
    elif worse:
        words, colour = f"A regression: {worse} figures are worse beyond noise, {better} better.", "red"
    return "\n".join((*lines, "", click.style(words, fg=colour or None, bold=True))).strip("\n")


def _cells(row: Row) -> tuple[str, ...]:
    unit, before, after = unit_of(row.key), row.before.value, row.after.value
    grown = f"{100 * (after - before) / before:+.1f} %" if before else f"+{figure(after)}" if after else ""
    # Of both intervals the wider one, as half its width.
    widths = [(each.noise[1] - each.noise[0]) / 2 / each.value for each in (row.before, row.after) if each.value]
    noise = f"±{100 * max(widths):.1f} %" if any(widths) else ""
    change = "" if row.change is Change.SAME else row.change.value
    return (row.key, figure(before, unit), figure(after, unit), grown, noise, change)


def _columns(rows: Sequence[tuple[str, ...]], sides: str) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    form = "  ".join(f"{{:{side}{width}}}" for side, width in zip(sides, widths, strict=True))
    return [form.format(*row).rstrip() for row in rows]


GROUPS: Final = ("relay", "postgres", "api")
LEAST_RUNS: Final = 4
_PERCENT_CORE: Final = 100
BUSY: Final = 0.6
"""Of a core, what a relay node may use on average: beyond, its lateness grows faster than its load."""
NODE_CONNECTIONS: Final = 15_000  # the default of VARDE_RELAY_CONNECTIONS


class Slope(Struct, frozen=True):
    """What each adds to a figure: a node, a connection, a message a second, and one whose reader is at another node."""

    node: float
    connection: float
    message: float
    crossing: float

    def at(self, nodes: float, connections: float, messages: float) -> float:
        """Return the figure for so much, with senders and readers at any node alike."""
        slopes = (self.node, self.connection, self.message, self.crossing)
        amounts = zip(slopes, amounts_of(nodes, connections, messages), strict=True)
        return sum(slope * amount for slope, amount in amounts)


def amounts_of(nodes: float, connections: float, messages: float) -> tuple[float, float, float, float]:
    """Return what a `Slope` has slopes for. In a fleet, most readers are at another node than the sender."""
    return nodes, connections, messages, messages * (1 - 1 / nodes) if nodes else 0.0


class Slopes(Struct, frozen=True):
    """By the name of the program: CPU in percent of a core, memory in MiB. `misfit` is of the worst run."""

    cpu: dict[str, Slope]
    memory: dict[str, Slope]
    misfit: dict[str, float]


def slopes_of(results: Sequence[Result]) -> Slopes:
    """Lay planes through the judged stages of runs. Raises CouldNotRun for runs that do not tell the three apart."""
    import numpy as np  # noqa: PLC0415 - comparing does without it

    amounts = [_amounts(result) for result in results]
    table = np.array(amounts)
    # A column that never moves cannot be told from another one. Runs without messages and with several nodes can.
    if len(results) < LEAST_RUNS or np.linalg.matrix_rank(table / np.maximum(table.max(axis=0), 1)) < table.shape[1]:
        raise CouldNotRun(
            "these runs do not tell nodes, connections and messages apart",
            "Give four or more runs of fresh stacks that differ in each: see docs/operations/capacity.md.",
        )
    cpu, memory, misfit = dict[str, Slope](), dict[str, Slope](), dict[str, float]()
    for group in GROUPS:
        for kind, found in (("cpu_percent", cpu), ("rss_mib", memory)):
            seen = np.array([_mean(result, group, kind) for result in results])
            fitted, *_ = np.linalg.lstsq(table, seen, rcond=None)
            found[group] = Slope(*(float(each) for each in fitted))
            if kind == "cpu_percent":
                misfit[group] = 100 * float(np.max(np.abs(table @ fitted - seen) / np.maximum(seen, 1e-9)))
    return Slopes(cpu, memory, misfit)


def _amounts(result: Result) -> tuple[float, float, float, float]:
    if not result.judged_series or not any(_has(sample.server) for sample in result.judged_series):
        raise CouldNotRun(f"{result.scenario}: its servers were not watched, or it has no judged stage")
    nodes = {key.partition(".")[0] for sample in result.judged_series for key in sample.server if _is_node(key)}
    connected = fmean(sample.connected for sample in result.judged_series)
    return amounts_of(len(nodes), connected, fmean(sample.sent_per_second for sample in result.judged_series))


def _has(server: dict[str, float]) -> bool:
    return "postgres.cpu_percent" in server


def _is_node(key: str) -> bool:
    return key.startswith("relay-") and key.endswith(".cpu_percent")


def _mean(result: Result, group: str, kind: str) -> float:
    """Return the mean over the judged stages, of all processes of a group together."""
    return fmean(
        sum(value for key, value in sample.server.items() if _belongs(key, group, kind))
        for sample in result.judged_series
        if _has(sample.server)
    )


def _belongs(key: str, group: str, kind: str) -> bool:
    name, _, what = key.partition(".")
    return what == kind and (name == group or name.startswith(f"{group}-"))


def words_of(slopes: Slopes, connections: int, messages: float) -> str:
    """Return the slopes, and what so many connections and messages a second would take."""
    from loadtest.report.outputs import TEMPLATES  # noqa: PLC0415 - it brings matplotlib, which takes a second

    relay = slopes.cpu["relay"]
    by_places = math.ceil(connections / NODE_CONNECTIONS)
    each = _PERCENT_CORE * BUSY - relay.node
    shared = relay.at(by_places, connections, messages) - relay.node * by_places
    by_cpu = math.ceil(shared / each) if each > 0 else 0
    nodes = max(by_places, by_cpu)
    return TEMPLATES.get_template("slopes.txt").render(
        slopes=slopes,
        groups=GROUPS,
        connections=connections,
        messages=messages,
        nodes=nodes,
        by_places=by_places,
        by_cpu=by_cpu,
        busy=BUSY,
        gib=slopes.memory["relay"].at(nodes, connections, messages) / 1_024,
        database=slopes.cpu["postgres"].at(nodes, connections, messages) / _PERCENT_CORE,
    )
