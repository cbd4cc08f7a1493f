"""Dotted keys into a result as a reader says them: what stands there, and in which unit."""

from typing import Final

from loadtest.report.page.figures import unit_of
from loadtest.report.result import Result

KINDS: Final = (
    ("send_to_receive", "Send to receive"),
    ("send_to_ack", "Send to ack"),
    ("request", "Request to answer"),
    ("connect", "Connect: SYN to Welcome"),
    ("backlog", "Backlog: back until received"),
)
"""In the order in which a scenario is about them."""
PLACES: Final = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p999": 99.9, "max": 100.0}
_TITLES: Final = {
    "users.connected": "Users connected at the end",
    "users.failed": "Attempts to connect that failed",
    "users.reconnects": "Connections made again",
    "rate.achieved_per_second": "Rate achieved",
    "rate.deliveries_per_second": "Deliveries",
    "generator.cpu_max_percent": "CPU of the generator",
}


def title_of(key: str) -> str:
    """Return a key in words: `latency_ms.send_to_ack.p99` is "Send to ack, p99"."""
    parts = key.split(".")
    if parts[0] == "stages" and len(parts) > 2:  # noqa: PLR2004 - stages, a name and what is meant of it
        return f"{title_of('.'.join(parts[2:]))}, in stage {parts[1]}"
    if parts[0] == "latency_ms" and parts[-1] in PLACES:
        kind = dict(KINDS).get(parts[1].removeprefix("raw_"), _plain(parts[1])).split(":")[0]
        place = "p99.9" if parts[-1] == "p999" else parts[-1]
        return f"{kind}, {'raw ' if parts[1].startswith('raw_') else ''}{place}"
    if parts[0] == "messages":
        return f"Messages {_plain(parts[-1]).lower()}"
    if parts[0] == "findings":
        return _plain(parts[1])
    return _TITLES.get(key, _plain(" ".join(parts)))


def unit_in(result: Result, key: str) -> str:
    """Return the unit of what stands at a key; of a finding its own."""
    parts = key.split(".")
    if parts[0] == "findings":
        return next((finding.unit for finding in result.findings if finding.name == parts[1]), "")
    return unit_of(key)


def _plain(name: str) -> str:
    words = name.replace("_", " ").replace("-", " ")
    return words[:1].upper() + words[1:]
