"""What Locust's own web page and statistics have of a run: its figures, a line with its state, the last report."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from locust import stats as locust_stats
from locust.stats import RequestStats, StatsEntry, bucket_response_time

from loadtest.ledger.reports import StageSums

_TAGS: Final = b"""
<style>.MuiFormControl-root:has([name=userCount],[name=spawnRate],[name=host]),form .MuiAccordion-root{display:none}
#varde{position:sticky;bottom:0;z-index:1;margin:0;padding:8px 24px;font:13px system-ui;background:#222;color:#ddd}
#varde a{color:inherit}</style>
<p id="varde"><output></output> &middot; <a href="./varde/report">the last report</a></p>
<script>setInterval(async () => {
  document.querySelector("#varde output").textContent = await (await fetch("./varde/state")).text();
}, 1000);</script></body>"""
"""The scenario decides what the hidden fields of Locust's form ask for."""
_RAW: Final = "message to receiver, or request, from when it was sent"
_NAMES: Final = (
    ("send_to_ack", "SEND", "message, to ack"),
    ("send_to_receive", "RECV", "message, to receiver"),
    ("request", "API", "request"),
    ("raw_send_to_receive", "RAW", _RAW),
    ("raw_request", "RAW", _RAW),
)


def add_state(web: Any, state: Callable[[], str], folder: Callable[[], Path | None]) -> None:
    """Add to the page of Locust's WebUI the present state in words, and the report in the last run's folder."""
    app, answer = web.app, web.app.response_class
    locust_stats.PERCENTILES_TO_CHART = [0.5, 0.99]

    def report() -> Any:
        page = (folder() or Path()) / "report.html"
        if not page.exists():
            return answer("no run has ended yet", status=404, mimetype="text/plain")
        return answer(page.read_bytes(), mimetype="text/html")

    def with_tags(response: Any) -> Any:
        if response.mimetype == "text/html" and not response.direct_passthrough:
            page = response.get_data()
            # Only the page that Locust's own program is drawn into; others, such as reports, stay as they are.
            if b"window.templateArgs" in page:
                response.set_data(page.replace(b"</body>", _TAGS, 1))
        return response

    app.add_url_rule("/varde/state", "state", lambda: answer(state(), mimetype="text/plain"))
    app.add_url_rule("/varde/report", "report", report)
    app.after_request(with_tags)


def count_second(stats: RequestStats, second: StageSums) -> None:
    """Add what happened within a second to Locust's statistics. A message counts from when it was due."""
    for field, method, name in _NAMES:
        if counts := getattr(second, field).counts_ms():
            entry = _entry(stats, method, name, counts)
            stats.get(name, method).extend(entry)
            if method != "RAW":  # the same messages again
                stats.total.extend(entry)


def _entry(stats: RequestStats, method: str, name: str, counts: list[tuple[float, int]]) -> StatsEntry:
    entry: Any = StatsEntry(stats, name, method)
    for took_ms, count in counts:
        bucket = bucket_response_time(took_ms)
        entry.response_times[bucket] = entry.response_times.get(bucket, 0) + count
    entry.total_response_time = sum(took_ms * count for took_ms, count in counts)
    entry.min_response_time, entry.max_response_time = counts[0][0], counts[-1][0]
    entry.num_requests = sum(count for _, count in counts)
    entry.last_request_timestamp = now = time.time()
    entry.num_reqs_per_sec = {int(now): entry.num_requests}
    return entry  # type: ignore[no-any-return]
