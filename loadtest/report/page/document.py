"""The report as one file of HTML."""

import base64
import hashlib
from importlib.resources import files
from typing import Final

from loadtest.report.page.latency import latency_by_second, latency_of
from loadtest.report.page.load import endings_of, endpoints_of, load_of, messages_of, stages_of
from loadtest.report.page.markup import Markup, tag
from loadtest.report.page.origin import environment_of, generator_of
from loadtest.report.page.seconds import Seconds
from loadtest.report.page.server import server_of
from loadtest.report.page.standing import findings_of, header_of, objectives_of
from loadtest.report.result import Result

FILES: Final = (
    ("result.json", "everything, for programs"),
    ("series.csv", "a row each second"),
    ("latency.hdr", "histograms, HdrHistogram log 1.3"),
    ("junit.xml", "objectives as tests"),
    ("report.png", "the main charts, one page"),
)


def document_of(result: Result) -> str:
    """Return the page."""
    style, cursor = _read("style.css"), _read("cursor.js")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(cursor)),
        tag("title", f"{result.scenario}: {result.verdict.value} · Varde load report"),
        Markup(f'<link rel="icon" href="data:,"><style>{style}</style>'),
    )
    body = tag("body", tag("main", *_parts(result)), _footer(), Markup(f"<script>{cursor}</script>"))
    return f"<!doctype html>\n{tag('html', head, body, lang='en').html}\n"


def _parts(result: Result) -> list[Markup]:
    seconds = Seconds(result)
    generator = generator_of(result)
    suspect = bool(result.generator.bottlenecks)
    parts = (
        generator if suspect else None,
        objectives_of(result),
        findings_of(result),
        latency_of(result),
        latency_by_second(result, seconds),
        messages_of(result),
        load_of(result, seconds),
        endings_of(result),
        endpoints_of(result),
        server_of(seconds),
        stages_of(result),
        None if suspect else generator,
        environment_of(result),
    )
    return [header_of(result), *(part for part in parts if part is not None)]


def _footer() -> Markup:
    links = [tag("li", tag("a", name, href=name), f" {words}") for name, words in FILES]
    return tag("footer", tag("p", "Beside this page:"), tag("ul", *links))


def _policy(script: str) -> str:
    """Only the one script of ours runs, whatever a result may hold."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _read(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")
