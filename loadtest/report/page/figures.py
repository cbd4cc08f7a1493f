"""Numbers as a person reads them, each with the unit that its key implies."""

import math
from typing import Final

NOTHING: Final = "\N{EN DASH}"
_ALL: Final = 100
_MINUTE: Final = 60
_HOUR: Final = 3_600
_THOUSAND: Final = 1_000
_UNITS: Final = (
    ("_percent", "%"),
    ("_per_second", "/s"),
    ("_mib", "MiB"),
    ("_kib", "KiB"),
    ("_ms", "ms"),
    ("_us", "µs"),
    ("_bytes", "B"),
    ("_seconds", "s"),
    ("_s", "s"),
)


def figure(value: float | None, unit: str = "") -> str:
    """Return three digits for a small number and all whole ones for a large one, with its unit."""
    if value is None:
        return NOTHING
    size = abs(value)
    if value == int(value) or size >= _THOUSAND:
        digits = f"{value:,.0f}"
    else:
        digits = f"{value:.{1 if size >= 100 else 2 if size >= 1 else 3}f}"  # noqa: PLR2004 - three digits, as HDR has
        digits = digits.rstrip("0").rstrip(".")
    return f"{digits}{'' if unit in {'', '%', '/s'} else ' '}{unit}"


def milliseconds(value: float | None) -> str:
    """Return a latency with its three digits; from ten seconds on in seconds."""
    if value is None:
        return NOTHING
    short = float(f"{value:.3g}")
    return f"{short / _THOUSAND:,g} s" if short >= 10 * _THOUSAND else f"{short:,g} ms"


def unit_of(key: str) -> str:
    """Return the unit of a dotted path into a result, or of a series of the server."""
    last = key.rpartition(".")[2]
    if any(part.endswith("_ms") for part in key.split(".")) and not last.endswith("count"):
        return "ms"
    return next((unit for end, unit in _UNITS if last.endswith(end)), "")


def clock(seconds: float) -> str:
    """Return a time of the run: 4:05, or 1:04:05 from an hour on."""
    whole = round(seconds)
    minutes = f"{whole % _HOUR // _MINUTE}:{whole % _MINUTE:02}"
    return f"{whole // _HOUR}:{minutes.zfill(5)}" if whole >= _HOUR else minutes


def duration(seconds: float) -> str:
    """Return how long something took, in words."""
    if seconds < 2 * _MINUTE:
        return f"{figure(round(seconds, 1))} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.3g} min"
    return f"{seconds / _HOUR:.3g} h"


def percentile(value: float) -> str:
    """Return a percentile with one digit more than it has nines."""
    if value >= _ALL:
        return "max"
    nines = -math.log10(1 - value / _ALL)
    return f"{value:.{2 + int(nines)}g} %"
