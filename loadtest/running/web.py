"""Our charts on Locust's own web page, and the last run's report beside them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from loadtest.running.lead import Lead

_SCRIPT: Final = Path(__file__).with_name("charts.js")
_TAG: Final = b'<script src="./varde/charts.js" defer></script></body>'
_POINTS: Final = 900
"""Seconds that a page shows."""


def add_charts(web: Any, lead: Lead, last_folder: Callable[[], Path | None]) -> None:
    """Add routes under `/varde`, and a script to the page. `web` is Locust's WebUI; `last_folder` has a report."""
    app = web.app
    answer = app.response_class

    def report() -> Any:
        folder = last_folder()
        page = None if folder is None else folder / "report.html"
        if page is None or not page.exists():
            return answer("no run has ended yet", status=404, mimetype="text/plain")
        return answer(page.read_bytes(), mimetype="text/html")

    def with_charts(response: Any) -> Any:
        if response.mimetype == "text/html" and not response.direct_passthrough:
            response.set_data(_with_script(response.get_data()))
        return response

    def said() -> Any:
        return answer(_said(lead, reported=last_folder() is not None), mimetype="application/json")

    app.add_url_rule("/varde/charts.js", "charts", lambda: answer(_SCRIPT.read_bytes(), mimetype="text/javascript"))
    app.add_url_rule("/varde/series", "series", said)
    app.add_url_rule("/varde/report", "report", report)
    app.after_request(with_charts)


def _with_script(page: bytes) -> bytes:
    """Add ours to the page that Locust's own program is drawn into; others, such as reports, stay as they are."""
    return page.replace(b"</body>", _TAG, 1) if b"window.templateArgs" in page else page


def _said(lead: Lead, *, reported: bool) -> bytes:
    course = lead.course
    words = f"Varde: {lead.plan.scenario}, {len(lead.plan.stages)} stages, {lead.plan.seconds:.0f} s"
    if course is not None and course.record.passages:
        passage = course.record.passages[-1]
        stage = lead.plan.stages[passage.index]
        words = f"Varde: {lead.plan.scenario}, stage {passage.index + 1} of {len(lead.plan.stages)}, {stage.name}"
    rows = [] if course is None else course.record.series[-_POINTS:]
    ended = course is not None and course.done.is_set()
    return msgspec.json.encode({"words": words, "series": rows, "report": reported and ended})
