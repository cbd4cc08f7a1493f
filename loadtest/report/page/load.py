"""What was asked of the system and what became of it: connections, throughput, every message, every ending."""

from collections.abc import Mapping, Sequence
from typing import Final

from loadtest.report.page.axis import value_axis
from loadtest.report.page.figures import figure, milliseconds
from loadtest.report.page.markup import Content, Markup, join, note, section, table, tag
from loadtest.report.page.plot import Chart, Level, Line, draw
from loadtest.report.page.seconds import Seconds, values_of
from loadtest.report.result import Endpoint, Messages, Result
from varde_contract.closing import CLOSINGS, CloseCode

_RFC6455: Final = {
    "1000": ("normal", "the client went, or was done"),
    "1001": ("going-away", "one side was going away"),
    "1002": ("protocol-error", "a frame broke RFC 6455"),
    "1003": ("unsupported", "a kind of frame that is not taken"),
    "1005": ("no-code", "a close frame without a code"),
    "1006": ("abnormal", "the connection ended without a close frame"),
    "1008": ("policy", "a policy was broken"),
    "1009": ("too-big", "a message was larger than is taken"),
    "1011": ("internal", "the server met a fault of its own"),
    "1012": ("restart", "the server was being restarted"),
    "1013": ("try-later", "the server was too busy"),
    "reset": ("reset", "the peer's kernel reset the connection: its process was gone"),
    "refused": ("refused", "nobody listened"),
    "timeout": ("timeout", "no answer in time"),
    "left": ("left", "the user went, as it was told to"),
    "eof": ("eof", "the server hung up without a close frame"),
    "silence": ("silence", "nothing was heard for longer than the heartbeat allows"),
    "fault": ("fault", "the server broke a protocol"),
    "join-refused": ("join-refused", "a join was refused, so that the user gave up"),
    "generator-fault": ("generator-fault", "a fault of the generator's own"),
}
_ORDERLY: Final = {"1000", "1001", "left", str(int(CloseCode.DRAINING))}
_FAULTS: Final = (
    ("lost", "acked or due, and never came"),
    ("duplicated", "came twice to one device"),
    ("disordered", "came after a later one of the same sender"),
    ("undecryptable", "came with other bytes than were sent"),
    ("astray", "came to somebody it was not for, or was never sent"),
)
_KNOWN: Final = (
    ("unacked", "sent, and never answered"),
    ("refused", "answered with a refusal"),
)
_PLANNED: Final = (
    ("unfetched", "due to somebody who left and did not come back"),
    ("after_gap", "announced by a gap record as not to be had"),
    ("resent", "said again after a connection was lost"),
)


def load_of(result: Result, seconds: Seconds) -> Markup | None:
    """Return connections and throughput over time; None without a series."""
    if not seconds.samples:
        return None
    charts = [_connections(seconds)]
    if any(sample.sent_per_second or sample.received_per_second for sample in seconds.samples):
        charts.append(_throughput(result, seconds))
    return section("load", "Connections and throughput", tag("div", *map(draw, charts), class_="charts"))


def _connections(seconds: Seconds) -> Chart:
    connected = seconds.line("connected", 1, lambda sample: sample.connected)
    asked = seconds.line("users asked for", 6, lambda sample: sample.users)
    lines = [Line(connected.name, 1, connected.points, filled=True), Line(asked.name, 6, asked.points, dashed=True)]
    return _chart("Connections", seconds, lines, "")


def _throughput(result: Result, seconds: Seconds) -> Chart:
    sent = seconds.line("done" if result.endpoints else "sent", 2, lambda sample: sample.sent_per_second, "/s")
    received = seconds.line("received", 1, lambda sample: sample.received_per_second, "/s")
    what = "Requests" if result.endpoints else "Messages"
    lines = [sent] if result.endpoints else [received, sent]
    steps = [
        (at, stage.target_per_second)
        for stage in result.stages
        for at in (stage.began_s, stage.began_s + stage.seconds)
    ]
    target = [Level(steps)] if any(rate for _, rate in steps) else []
    return _chart(f"{what} each second", seconds, lines, "/s", target)


def _chart(title: str, seconds: Seconds, lines: list[Line], unit: str, levels: Sequence[Level] = ()) -> Chart:
    return Chart(
        title=title,
        x=seconds.axis,
        y=value_axis([*values_of(lines), *(value for level in levels for _, value in level.steps)], unit),
        lines=lines,
        bands=seconds.bands,
        levels=levels,
        events=seconds.events,
        readings=seconds.readings,
        note="The dashed line is what the plan offers." if levels else None,
    )


def messages_of(result: Result) -> Markup | None:
    """Return the account of every message; None where no message was due."""
    messages = result.messages
    if not (messages.sent or messages.due):
        return None
    flow = tag(
        "div",
        *(_count(name, f"{getattr(messages, name):,}", words) for name, words in _FLOW),
        class_="cells flow",
    )
    faults = [_fault(messages, name, words, "bad") for name, words in _FAULTS]
    known = [_fault(messages, name, words, "warn") for name, words in _KNOWN]
    planned = [_fault(messages, name, words, "") for name, words in _PLANNED]
    account = [tag("div", *cells, class_="cells") for cells in (faults, [*known, *planned])]
    return section("messages", "Every message accounted for", flow, *account)


_FLOW: Final = (
    ("sent", "by all devices"),
    ("acked", "kept durably, says the relay"),
    ("due", "deliveries: one for each device"),
    ("received", "by the devices they were for"),
)


def _count(name: str, value: str, words: str, kind: str | None = None) -> Markup:
    return tag(
        "div", tag("b", value), tag("span", name.replace("_", " ")), tag("small", words), class_=f"cell {kind or ''}"
    )


def _fault(messages: Messages, name: str, words: str, kind: str) -> Markup:
    count: int = getattr(messages, name)
    return _count(name, f"{count:,}", words, kind if count else "good")


def endings_of(result: Result) -> Markup | None:
    """Return how connections ended and what was refused; None when there was neither."""
    if not (result.close_codes or result.refusals or result.users.connects):
        return None
    users = result.users
    said = (
        f"{users.connects:,} connects, {users.reconnects:,} of them again; {users.failed:,} attempts failed. "
        f"At most {users.peak:,} at once."
    )
    closes = {code: (*_meaning(code), count) for code, count in result.close_codes.items()}
    refusals = {code: (code, "answered to a send or a join", count) for code, count in result.refusals.items()}
    return section(
        "endings",
        "How connections ended",
        note(said),
        _bars(closes, ("close", "", "connections", "", "when")) if closes else note("None was closed."),
        tag("h3", "Refusals"),
        _bars(refusals, ("refusal", "", "times", "", "")) if refusals else note("None. ", tag("b", "✓", class_="good")),
    )


def _meaning(code: str) -> tuple[str, str]:
    if code in _RFC6455:
        return _RFC6455[code]
    known = {str(int(each)): each for each in CloseCode}
    return (known[code].label, CLOSINGS[known[code]].when) if code in known else ("", "")


def _bars(counts: Mapping[str, tuple[str, str, int]], headings: tuple[str, ...]) -> Markup:
    most = max(count for _, _, count in counts.values()) or 1
    rows: list[tuple[Content, ...]] = []
    for code, (label, when, count) in sorted(counts.items(), key=lambda item: -item[1][2]):
        kind = "bar" if code in _ORDERLY else "bar odd"
        bar = tag("i", class_=kind, style=f"width:{max(1.0, 100 * count / most):.1f}%")
        rows.append(
            (tag("b", code), label if label != code else "", f"{count:,}", tag("span", bar, class_="track"), when)
        )
    return tag("div", table(headings, rows, words=2), class_="bars")


def endpoints_of(result: Result) -> Markup | None:
    """Return a row for each operation of the API; None where none was asked."""
    if not result.endpoints:
        return None
    rows = [_row_of_endpoint(endpoint) for endpoint in result.endpoints]
    headings = ("operation", "requests", "p50", "p95", "p99", "p99.9", "max", "failed")
    return section("endpoints", "The API, by operation", table(headings, rows), note("Corrected, in milliseconds."))


def _row_of_endpoint(endpoint: Endpoint) -> tuple[Content, ...]:
    latency = endpoint.latency_ms
    figures = [milliseconds(getattr(latency, name)) for name in ("p50", "p95", "p99", "p999", "max")]
    failures = ", ".join(f"{count:,} of {why}" for why, count in sorted(endpoint.failures.items()))
    failed = tag("span", failures, class_="bad") if failures else tag("span", "0", class_="good")
    return (tag("b", endpoint.name), figure(endpoint.requests), *figures, failed)


def stages_of(result: Result) -> Markup | None:
    """Return a row for each stage; None when none was begun."""
    if not result.stages:
        return None
    requests = bool(result.endpoints)
    kind = "request" if requests else "send_to_receive"
    rows: list[tuple[Content, ...]] = []
    for stage in result.stages:
        done = stage.requests_per_second if requests else stage.messages_per_second
        latency = getattr(stage.latency_ms, kind)
        name = join(tag("b", stage.name), tag("small", " judged", class_="tagged") if stage.judged else None)
        told = (figure(stage.began_s, "s"), figure(stage.seconds, "s"), f"{stage.users:,}")
        rates = (figure(stage.target_per_second, "/s"), figure(round(done, 1), "/s"))
        rows.append((name, *told, *rates, *(milliseconds(getattr(latency, each)) for each in ("p50", "p99", "max"))))
    headings = ("stage", "began", "took", "users", "offered", "done", "p50", "p99", "max")
    return section("stages", "Stages", table(headings, rows))
