"""The results of a run as a page of Markdown: targets first, then a table for each dimension, beside the peers."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from bench.catalogue import CATALOGUE, VARDE
from bench.results import Results
from bench.tables import NOTHING, figure, marked, table, times
from bench.targets import Verdict, judge

BOUND: Final = "*"
REFUSED: Final = "†"
PICOWS: Final = "picows"


def report_of(results: Results) -> str:
    """Return the whole report, without a heading of its own."""
    parts = [_machine(results), _targets(results), *_sections(results), _absent(results)]
    return "\n".join(part for part in parts if part)


def _sections(results: Results) -> Iterator[str]:
    for heading, section in SECTIONS:
        text = section(results)
        if text:
            yield f"### {heading}\n\n{text}"


def _machine(results: Results) -> str:
    machine, run = results.find("machine") or {}, results.find("run") or {}
    packages = ", ".join(f"{name} {version}" for name, version in (machine.get("packages") or {}).items())
    rounds = run.get("rounds", 1)
    whole = f"{rounds} {'round' if rounds == 1 else 'rounds'}."
    kind = "A quick run: a smoke test, not a comparison." if run.get("quick") else whole
    whole = "" if run.get("complete") else " The run was stopped before its end."
    pinned = "" if run.get("pinned", True) else " One core for server and generator: the figures are poor."
    cores = f"{machine.get('cores')} cores of {machine.get('cpu')}"
    where = f"{cores}, {machine.get('memory_gib')} GiB, {machine.get('kernel')}"
    with_ = f"{machine.get('python')}, Node {machine.get('node') or 'not there'}, {packages}"
    when = f"{machine.get('date')}, commit `{machine.get('commit')}`"
    return f"{kind}{whole}{pinned} Measured {when}, on {where}, with {with_}.\n"


def _targets(results: Results) -> str:
    rows = [_target_row(verdict) for verdict in judge(results)]
    return "### Targets\n\n" + table(("what", "target", "measured", ""), rows)


def _target_row(verdict: Verdict) -> tuple[str, ...]:
    word = {True: "met", False: "**missed**", None: "not measured"}[verdict.met]
    measured = times(verdict.measured) if verdict.target.endswith("x") else figure(verdict.measured)
    return verdict.what, verdict.target, measured, word


def _rows(results: Results, *names: str) -> Iterator[tuple[str, str, Any]]:
    """The servers in the order of the catalogue that have figures there: name, title, figures."""
    found = results.find(*names) or {}
    for entry in CATALOGUE:
        if entry.name in found:
            yield entry.name, marked(entry.title, bold=entry.name == VARDE), found[entry.name]


def _bound(point: Any, text: str) -> str:
    said = point if isinstance(point, dict) else {}
    return text + BOUND * bool(said.get("generator_bound")) + REFUSED * bool(said.get("refused"))


def _note(text: str) -> str:
    marks = f"\\{BOUND} The generator was more than 90 % busy: this may be its limit, not the server's.\n"
    refusals = (
        f"{REFUSED} The server was asked for more than it takes, and refused some: what that cost is in the figure.\n"
    )
    notes = [note for mark, note in ((BOUND, marks), (REFUSED, refusals)) if mark in text.replace("**", "")]
    return "\n".join((text, *notes))


def _over_picows(results: Results, value: object, *path: str) -> str:
    reference = results.number(*path)
    if not isinstance(value, int | float) or not reference:
        return NOTHING
    return times(value / reference)


def _fan_out(results: Results, *above: str) -> str:
    loads, rows = ("light", "saturated"), []
    for _, title, found in _rows(results, *above, "fanout"):
        cells = [title]
        for load in loads:
            point = found.get(load) or {}
            used = point.get("us_per_delivery")
            ratio = _over_picows(results, used, *above, "fanout", PICOWS, load, "us_per_delivery")
            cells += [_bound(point, figure(used)), ratio]
        rows.append((*cells, figure((found.get("saturated") or {}).get("achieved_per_second"))))
    headings = ("room of 100", "light, µs", "of picows", "saturated, µs", "of picows", "then done, /s")
    return _note(table(headings, rows))


def _sizes(results: Results) -> str:
    sizes = ("2", "10", "100", "1000")
    rows = []
    for _, title, found in _rows(results, "fanout"):
        rooms = [(found.get(load) or {}).get("rooms") or {} for load in ("light", "saturated")]
        points = [each.get(size) for each in rooms for size in sizes]
        if any(len(each) > 1 for each in rooms):
            rows.append((title, *(_bound(point, figure((point or {}).get("us_per_delivery"))) for point in points)))
    headings = ("µs a delivery", *(f"light, {size}" for size in sizes), *(f"saturated, {size}" for size in sizes))
    return _note(table(headings, rows))


def _direct(results: Results, *above: str) -> str:
    rows = []
    for _, title, point in _rows(results, *above, "direct"):
        used = point.get("us_per_message")
        ratio = _over_picows(results, used, *above, "direct", PICOWS, "us_per_message")
        rows.append((title, _bound(point, figure(used)), ratio, figure(point.get("achieved_per_second"))))
    return _note(table(("one to one", "µs for each message", "of picows", "done, /s"), rows))


def _handshake(results: Results, *above: str) -> str:
    rows = []
    for name, title, point in _rows(results, *above, "handshake"):
        if name == VARDE and "ik" in point:
            kinds = {kind: figure(point[kind]["per_second_per_core"], 4) for kind in ("ik", "xx")}
            rows += [(f"{title}, Noise {kind.upper()}", done) for kind, done in kinds.items()]
        else:
            rows.append((title, figure(point.get("per_second_per_core"), 4)))
    return table(("handshakes", "in a second of one core"), rows)


def _idle(results: Results, *above: str) -> str:
    rows = []
    for _, title, point in _rows(results, *above, "idle"):
        grown = {each["connections"]: each[_RSS] for each in point.get("growth", ())}
        cells = [figure(grown.get(count)) for count in (1_000, 5_000, 10_000)]
        ratio = _over_picows(results, point.get(_RSS), *above, "idle", PICOWS, _RSS)
        cpu, pings = figure(point.get("cpu_cores_at_10000"), 2), figure(point.get("pings_in_window"), 5)
        rows.append((title, *cells, ratio, cpu, pings))
    headings = ("idle", "KiB each at 1,000", "5,000", "10,000", "of picows", "cores at 10,000", "pings meanwhile")
    return table(headings, rows)


_RSS: Final = "rss_kib_per_connection"


def _tls(results: Results) -> str:
    parts = (_fan_out(results, "tls"), _direct(results, "tls"), _handshake(results, "tls"), _idle(results, "tls"))
    return "\n".join(part for part in parts if part)


def _durable(results: Results) -> str:
    rows = []
    for name, found in (results.find("durable") or {}).items():
        cells = (found.get("messages_per_second"), found.get("p50_ms"), found.get("p99_ms"))
        if any(cells):
            title = next((entry.title for entry in CATALOGUE if entry.name == name), name.replace("_", ", "))
            rows.append((marked(title, bold=name == VARDE), *map(figure, cells)))
    found = results.find("durable", VARDE, "connections", "at") or {}
    crowd = [(f"{int(rate):,}/s", *(figure(at.get(key)) for key in _LATENCIES)) for rate, at in found.items()]
    first = table(("durable", "messages/s sustained", "p50, ms, at 1,000/s", "p99, ms, at 1,000/s"), rows)
    second = table(("Varde, 10,000 connections", "p50, ms", "p99, ms", "p99.9, ms", "most, ms"), crowd)
    return "\n".join(part for part in (first, second) if part)


_LATENCIES: Final = ("p50_ms", "p99_ms", "p999_ms", "max_ms")


def _flood(results: Results) -> str:
    rows = []
    for _, title, found in _rows(results, "flood"):
        if "flooded" in found:
            calm, flooded = found["calm"], found["flooded"]
            rows.append((title, *(figure(each.get(key)) for each in (calm, flooded) for key in ("p50_ms", "p99_ms"))))
    return table(("a small message", "calm: p50, ms", "p99, ms", "flooded: p50, ms", "p99, ms"), rows)


def _recovery(results: Results) -> str:
    rows = []
    for way, found in (results.find("recovery", VARDE) or {}).items():
        if "failed" not in found:
            rows.append((f"Varde, {way}", *(figure(found.get(key)) for key in _RETURN)))
    return table(("after SIGKILL", "connections", "seconds until all are back", "handshakes/s", "p99 of one, ms"), rows)


_RETURN: Final = ("connections", "seconds_until_all_live", "handshakes_per_second", "p99_back_ms")


def _absent(results: Results) -> str:
    missing, failed = results.find("missing") or {}, results.find("failed") or {}
    lines = [f"- Left out: {name}: {why}" for name, why in missing.items()]
    lines += [f"- Failed: {name}: {why}" for name, why in failed.items()]
    return "\n".join(("### Not measured\n", *lines, "")) if lines else ""


SECTIONS: Final[tuple[tuple[str, Callable[[Results], str]], ...]] = (
    ("Fan-out", _fan_out),
    ("Fan-out by room size", _sizes),
    ("Direct messages", _direct),
    ("Handshakes", _handshake),
    ("Idle connections", _idle),
    ("Over TLS", _tls),
    ("Durable messages", _durable),
    ("A small message in a flood", _flood),
    ("Recovery", _recovery),
)
