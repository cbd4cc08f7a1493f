"""Numbers and keys of a result as a person reads them."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from loadtest.report.result import Result

NOTHING: Final = "\N{EN DASH}"
WORDS: Final[dict[str, dict[str, str]]] = tomllib.loads(Path(__file__).with_name("words.toml").read_text("utf-8"))
KINDS: Final = WORDS["kinds"]
PERCENTILES: Final = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p999": 99.9, "max": 100.0}


def figure(value: float | None, unit: str = "") -> str:
    """Return three digits for a small number and all whole ones for a large one, with its unit."""
    if value is None:
        return NOTHING
    size = abs(value)
    if value == int(value) or size >= 1_000:  # noqa: PLR2004 - three digits, as HDR has
        digits = f"{value:,.0f}"
    else:
        digits = f"{value:.{1 if size >= 100 else 2 if size >= 1 else 3}f}".rstrip("0").rstrip(".")  # noqa: PLR2004 - the same
    return f"{digits}{'' if unit in {'', '%', '/s'} else ' '}{unit}"


def milliseconds(value: float | None) -> str:
    """Return a latency with its three digits; from ten seconds on in seconds."""
    if value is None:
        return NOTHING
    short = float(f"{value:.3g}")
    return f"{short / 1_000:,g} s" if short >= 10_000 else f"{short:,g} ms"  # noqa: PLR2004 - ten seconds


def unit_of(key: str) -> str:
    """Return the unit of a dotted path into a result, or of a series of the server."""
    last = key.rpartition(".")[2]
    if any(part.endswith("_ms") for part in key.split(".")) and last != "count":
        return "ms"
    return WORDS["units"].get(last.rpartition("_")[2], "") if "_" in last else ""


def unit_in(result: Result, key: str) -> str:
    """Return the unit of what stands at a key; of a finding its own."""
    kind, _, name = key.partition(".")
    found = (finding.unit for finding in result.findings if finding.name == name.partition(".")[0])
    return next(found, "") if kind == "findings" else unit_of(key)


def title_of(key: str) -> str:
    """Return a key in words: `latency_ms.send_to_ack.p99` is "Send to ack, p99"."""
    first, *rest = parts = key.split(".")
    if first == "stages" and len(rest) > 1:
        return f"{title_of('.'.join(rest[1:]))}, in stage {rest[0]}"
    if first == "latency_ms" and parts[-1] in PERCENTILES:
        kind = KINDS[rest[0].removeprefix("raw_")].split(":")[0]
        return f"{kind}, {'raw ' if 'raw_' in rest[0] else ''}{'p99.9' if parts[-1] == 'p999' else parts[-1]}"
    if first == "messages":
        return f"Messages {_plain(parts[-1]).lower()}"
    return _plain(rest[0]) if first == "findings" else WORDS["titles"].get(key, _plain(" ".join(parts)))


def _plain(name: str) -> str:
    words = name.replace("_", " ").replace("-", " ")
    return words[:1].upper() + words[1:]


def clock(seconds: float) -> str:
    """Return a time of the run: 4:05, or 1:04:05 from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def duration(seconds: float) -> str:
    """Return how long something took, in words."""
    if seconds < 120:  # noqa: PLR2004 - below two minutes, in seconds
        return f"{figure(round(seconds, 1))} s"
    return f"{seconds / 60:.3g} min" if seconds < 7_200 else f"{seconds / 3_600:.3g} h"  # noqa: PLR2004 - two hours


def flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Return every value of a tree with its path, both as text."""
    for name, value in values.items():
        path = f"{before}{name}"
        if isinstance(value, dict):
            yield from flat(value, f"{path}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield path, f"{value:,.12g}"
        else:
            each_of = value if isinstance(value, list | tuple) else [value]
            yield path, ", ".join(NOTHING if each is None else str(each) for each in each_of)
