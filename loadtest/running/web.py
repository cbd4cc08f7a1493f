"""Locust's own web page: its statistics, our charts below them, and the last run's report."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from locust.stats import RequestStats, StatsEntry, bucket_response_time

from loadtest.ledger.histogram import Histogram
from loadtest.ledger.reports import Tick

if TYPE_CHECKING:
    from loadtest.running.master import Master

_SCRIPT: Final = Path(__file__).with_name("charts.js")
_TAGS: Final = (
    b"<style>.MuiFormControl-root:has([name=userCount],[name=spawnRate],[name=host]),"
    b"form .MuiAccordion-root{display:none}</style>"
    b'<script src="./varde/charts.js" defer></script></body>'
)
"""The scenario decides what these fields of Locust's form ask for."""
_NAMES: Final = (
    ("ack", "SEND", "message, to ack"),
    ("receive", "RECV", "message, to receiver"),
    ("request", "API", "request"),
)
_POINTS: Final = 900  # seconds that a page shows


def add_charts(web: Any, master: "Master") -> None:
    """Add routes under `/varde`, and a script to the page. `web` is Locust's WebUI."""
    app, answer = web.app, web.app.response_class

    def report() -> Any:
        page = None if master.folder is None else master.folder / "report.html"
        if page is None or not page.exists():
            return answer("no run has ended yet", status=404, mimetype="text/plain")
        return answer(page.read_bytes(), mimetype="text/html")

    def with_charts(response: Any) -> Any:
        if response.mimetype == "text/html" and not response.direct_passthrough:
            page = response.get_data()
            # Only the page that Locust's own program is drawn into; others, such as reports, stay as they are.
            if b"window.templateArgs" in page:
                response.set_data(page.replace(b"</body>", _TAGS, 1))
        return response

    app.add_url_rule("/varde/charts.js", "charts", lambda: answer(_SCRIPT.read_bytes(), mimetype="text/javascript"))
    app.add_url_rule("/varde/series", "series", lambda: answer(_series(master), mimetype="application/json"))
    app.add_url_rule("/varde/report", "report", report)
    app.after_request(with_charts)


def _series(master: "Master") -> bytes:
    plan, run = master.plan, master.run
    words = f"Varde: {plan.scenario}, {len(plan.stages)} stages, {plan.seconds:.0f} s"
    if run is not None and run.record.stages:
        index = run.record.stages[-1].index
        words = f"Varde: {plan.scenario}, stage {index + 1} of {len(plan.stages)}, {plan.stages[index].name}"
    rows = [] if run is None else run.record.series[-_POINTS:]
    reported = master.folder is not None and run is not None and run.done.is_set()
    return msgspec.json.encode({"words": words, "series": rows, "report": reported})


def count_second(stats: RequestStats, second: Tick) -> None:
    """Add what happened within a second to Locust's statistics. A message counts from when it was due."""
    for field, method, name in _NAMES:
        histogram: Histogram = getattr(second, field)
        if histogram.count:
            entry = _entry(stats, method, name, histogram)
            stats.get(name, method).extend(entry)
            stats.total.extend(entry)


def _entry(stats: RequestStats, method: str, name: str, histogram: Histogram) -> StatsEntry:
    entry: Any = StatsEntry(stats, name, method)
    counts = histogram.counts_ms()
    for took_ms, count in counts:
        bucket = bucket_response_time(took_ms)
        entry.response_times[bucket] = entry.response_times.get(bucket, 0) + count
    entry.total_response_time = sum(took_ms * count for took_ms, count in counts)
    entry.min_response_time, entry.max_response_time = counts[0][0], counts[-1][0]
    entry.num_requests = histogram.count
    entry.last_request_timestamp = now = time.time()
    entry.num_reqs_per_sec = {int(now): histogram.count}
    return entry  # type: ignore[no-any-return]
