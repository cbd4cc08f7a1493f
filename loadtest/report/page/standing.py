"""Where a run stands: its verdict, why, the objectives, what it was made to find."""

from typing import Final

from loadtest.report.page.figures import NOTHING, clock, duration, figure, milliseconds
from loadtest.report.page.keys import KINDS, title_of, unit_in
from loadtest.report.page.latency import main_kind
from loadtest.report.page.markup import Content, Markup, section, table, tag
from loadtest.report.result import Latency, Objective, Result, Verdict

_WORDS: Final = {
    Verdict.MET: ("Met", "Every objective holds."),
    Verdict.MISSED: ("Missed", "The system was measured, and it is not as good as it should be."),
    Verdict.INVALID: ("Invalid", "Nothing was learned about the system: the run itself was the limit."),
    Verdict.FAILED: ("Could not run", "The run did not come to be."),
}


def header_of(result: Result) -> Markup:
    """Return the head of the page: which run, what it says, and the figures everybody asks for first."""
    word, words = _WORDS[result.verdict]
    if result.interrupted:
        words = f"It was interrupted after {clock(result.seconds)}; what was measured until then is below."
    started = result.started.replace("T", " ").removesuffix("Z")
    told = f"{result.scenario} · {started} UTC · {duration(result.seconds)}"
    verdict = tag(
        "div",
        tag("strong", word),
        tag("div", tag("p", words), _reasons(result)),
        class_=f"verdict {result.verdict.value}",
    )
    return tag(
        "header", tag("p", told, class_="told"), tag("h1", result.title or result.scenario), verdict, _tiles(result)
    )


def _reasons(result: Result) -> Markup | None:
    return tag("ul", *(tag("li", reason) for reason in result.reasons)) if result.reasons else None


def _tiles(result: Result) -> Markup:
    kind = main_kind(result)
    latency: Latency = getattr(result.latency_ms, kind)
    users, rate, title = result.users, result.rate, dict(KINDS)[kind].split(":")[0].lower()
    tiles = [
        _tile(result, "users.connected", f"{users.connected:,}", f"connected, of {users.asked:,}"),
        _tile(result, f"latency_ms.{kind}.p99", milliseconds(latency.p99), f"p99, {title}"),
        _tile(result, f"latency_ms.{kind}.p50", milliseconds(latency.p50), f"p50, {title}"),
    ]
    if rate.target_per_second:
        words = f"done, of {figure(rate.target_per_second, '/s')}"
        tiles.insert(1, _tile(result, "rate.achieved_per_second", figure(rate.achieved_per_second, "/s"), words))
    if result.messages.due:
        tiles.append(_tile(result, "messages.lost", f"{result.messages.lost:,}", f"lost, of {result.messages.due:,}"))
    cpu = f"{result.generator.cpu_max_percent:.0f}%"
    tiles.append(_tile(result, "generator.cpu_max_percent", cpu, "generator's CPU, at most"))
    return tag("div", *tiles, class_="tiles")


def _tile(result: Result, key: str, value: str, words: str) -> Markup:
    """A figure with an objective has the colour of it."""
    found = next((each for each in result.objectives if each.key == key), None)
    kind = None if found is None else _standing(found)[0]
    return tag("div", tag("b", value), tag("span", words), class_=f"tile {kind or ''}")


def objectives_of(result: Result) -> Markup | None:
    """Return what was asked beside what was measured; None when nobody asked anything."""
    if not result.objectives:
        return None
    met = sum(each.met for each in result.objectives)
    ordered = sorted(result.objectives, key=lambda each: each.met)
    headings = ("", "objective", "measured", "goal", "floor", "used")
    rows = [_row(result, each) for each in ordered]
    title = f"Objectives: {met} of {len(rows)} met"
    return section("objectives", title, table(headings, rows, words=2))


def _row(result: Result, objective: Objective) -> tuple[Content, ...]:
    kind, word = _standing(objective)
    unit, sign = unit_in(result, objective.key), "≥" if objective.at_least else "≤"
    goal = f"{sign} {_figure(objective.limit, unit)}"
    floor = NOTHING if objective.floor is None else f"{sign} {_figure(objective.floor, unit)}"
    return (
        tag("span", word, class_=f"pill {kind}"),
        tag("span", tag("b", title_of(objective.key)), tag("code", objective.key), title=objective.words or None),
        tag("b", _figure(objective.measured, unit), class_=kind),
        goal,
        floor,
        _used(objective),
    )


def _figure(value: float | None, unit: str) -> str:
    return milliseconds(value) if unit == "ms" else figure(value, unit)


def _standing(objective: Objective) -> tuple[str, str]:
    if objective.met:
        return "good", "met"
    if objective.measured is None:
        return "bad", "nothing"
    if objective.floor is None or objective.floor == objective.limit:
        return "bad", "missed"
    below = objective.measured < objective.floor if objective.at_least else objective.measured > objective.floor
    return ("bad", "under floor") if below else ("warn", "goal missed")


def _used(objective: Objective) -> Markup | str:
    """How much of what is allowed was used, as a bar that ends at the goal."""
    if objective.measured is None or objective.limit <= 0 or objective.at_least:
        return ""
    share = 100 * objective.measured / objective.limit
    kind = "bar" if objective.met else "bar odd"
    bar = tag("span", tag("i", class_=kind, style=f"width:{min(100.0, share):.1f}%"), class_="track short")
    return tag("span", bar, f"{share:,.0f}%", class_="used")


def findings_of(result: Result) -> Markup | None:
    """Return what the scenario was made to find; None when it found nothing."""
    if not result.findings:
        return None
    cells = [
        tag(
            "div",
            tag("b", figure(each.value, each.unit) if each.value is not None else NOTHING),
            tag("span", each.name.replace("-", " ")),
            tag("small", each.words),
            class_="cell",
        )
        for each in result.findings
    ]
    return section("findings", "Found", tag("div", *cells, class_="cells"))
