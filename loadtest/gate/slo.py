"""The service level objectives, read from `loadtest/slo.toml` or another file of its form.

A word that is misspelt must never be an objective that always holds: each key is looked up in the classes of the
result.
"""

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from loadtest.gate.bound import Bound
from loadtest.gate.keys import fault_of
from loadtest.report.result import Result, StageFigures
from loadtest.scenarios.catalogue import SCENARIOS

SLO: Final = Path(__file__).parent.parent / "slo.toml"
VERSION: Final = 1
RAMP_STAGE: Final = "stage-of-ramp"
"""The table that says when a stage of a ramp counts as broken."""


class SloError(Exception):
    """The objectives cannot be used; the text names the file, the table and the line."""


class Slo(Struct, frozen=True):
    """All objectives: by scenario, and those of each stage of a ramp."""

    scenarios: dict[str, tuple[Bound, ...]]
    ramp_stage: tuple[Bound, ...]

    def bounds_of(self, scenario: str) -> tuple[Bound, ...]:
        """Return a scenario's objectives, one at least. Raises SloError."""
        if scenario not in self.scenarios:
            raise SloError(f"the SLO has no table [{scenario}]: without objectives there is no verdict")
        return self.scenarios[scenario]


def read_slo(path: Path = SLO) -> Slo:
    """Read the file. Raises SloError."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SloError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SloError(f"{path} is not TOML: {error}") from error
    try:
        return _slo(tables)
    except SloError as error:
        raise SloError(f"{path}: {error}") from None


def _slo(tables: Mapping[str, Any]) -> Slo:
    tables = dict(tables)
    if (version := tables.pop("version", None)) != VERSION:
        raise SloError(f"version is {version!r}; this program reads version = {VERSION}")
    ramp_stage = _bounds(RAMP_STAGE, tables.pop(RAMP_STAGE, None), StageFigures)
    unknown = [name for name in tables if name not in SCENARIOS]
    if unknown:
        raise SloError(f"[{unknown[0]}] is no scenario; there are {', '.join(SCENARIOS)}")
    return Slo({name: _bounds(name, table, Result) for name, table in tables.items()}, ramp_stage)


def _bounds(name: str, table: object, kind: type[Struct]) -> tuple[Bound, ...]:
    if not isinstance(table, dict) or not table:
        raise SloError(f"[{name}] must be a table with one objective at least")
    return tuple(_bound(name, key, line, kind) for key, line in table.items())


def _bound(name: str, key: str, line: object, kind: type[Struct]) -> Bound:
    place = f'[{name}] "{key}"'
    if not isinstance(line, dict) or len(line.keys() & {"at_most", "at_least"}) != 1:
        raise SloError(f"{place} must be a table with exactly one of at_most and at_least")
    _check_words(place, line)
    for each in (key, line.get("of")):
        if each is not None and (fault := fault_of(each, kind)) is not None:
            raise SloError(f"{place}: {fault}")
    bound = Bound(key=key, **line)
    if bound.floor is not None and not bound.holds(bound.goal, bound.floor):
        raise SloError(f"{place}: the floor must be easier to reach than the goal")
    return bound


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_words(place: str, line: Mapping[str, object]) -> None:
    for word, value in line.items():
        if word not in {"at_most", "at_least", "floor", "of"}:
            raise SloError(f"{place}: nobody knows the word {word!r}; there are at_most, at_least, floor and of")
        if not (isinstance(value, str) if word == "of" else _is_number(value)):
            raise SloError(f"{place}: {word} must be {'a key' if word == 'of' else 'a number'}")
