"""The service level objectives, read from `loadtest/slo.toml` or another file of its form.

A word that is misspelt must never be an objective that always holds: each key is looked up in the classes of the
result. A key is dotted; in a list, a name says which: `stages.after.latency_ms.connect.p99`. One line holds for several
keys with `messages.{lost,duplicated}`.
"""

import math
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct, inspect

from loadtest.exits import CouldNotRun
from loadtest.report.formatting import figure
from loadtest.report.result import Objective, Result, StageFigures
from loadtest.scenarios.plan import SCENARIOS

SLO: Final = Path(__file__).parent.parent / "slo.toml"
VERSION: Final = 1
RAMP_STAGE: Final = "stage-of-ramp"  # the table that says when a stage of a ramp counts as broken


class SloError(CouldNotRun):
    """The objectives cannot be used; the text names the file, the table and the line."""


class Bound(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Exactly one of `at_most` and `at_least` is set: the goal. With `of`, they are shares of what stands there."""

    key: str
    at_most: float | None = None
    at_least: float | None = None
    floor: float | None = None  # the hard floor: what may not be missed even where the goal may
    of: str | None = None

    @property
    def goal(self) -> float:
        """Whichever is set."""
        return (self.at_least or 0.0) if self.at_most is None else self.at_most

    def judge(self, root: Struct) -> Objective:
        """Hold what `root` has at the key against the goal. What was not measured misses it."""
        share = 1.0 if self.of is None else value_of(self.of, root)
        measured, share = None if share is None else value_of(self.key, root), share or 0.0
        limit, floor = self.goal * share, None if self.floor is None else self.floor * share
        sides: dict[str, Any] = {"limit": limit, "floor": floor, "at_least": self.at_least is not None}
        objective = Objective(key=self.key, measured=measured, met=False, words="", **sides)
        words = f"{self.key} is {figure(measured)}" if measured is not None else f"{self.key}: nothing was measured"
        words += f"; the goal is at {'least' if objective.at_least else 'most'} {figure(limit)}"
        if self.of is not None:
            words += f" ({figure(self.goal)} of {self.of})"
        if floor is not None and measured is not None:
            words += f", and the floor of {figure(floor)} {'holds' if objective.holds(floor) else 'is broken'}"
        return msgspec.structs.replace(objective, met=objective.holds(limit), words=words)


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
        return _slo(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SloError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SloError(f"{path} is not TOML: {error}") from error
    except SloError as error:
        raise SloError(f"{path}: {error}") from None


def _slo(tables: dict[str, Any]) -> Slo:
    if (version := tables.pop("version", None)) != VERSION:
        raise SloError(f"version is {version!r}; this program reads version = {VERSION}")
    ramp_stage = tuple(_bounds(RAMP_STAGE, tables.pop(RAMP_STAGE, None), StageFigures))
    if unknown := sorted(tables.keys() - SCENARIOS.keys()):
        raise SloError(f"[{unknown[0]}] is no scenario; there are {', '.join(SCENARIOS)}")
    return Slo({name: tuple(_bounds(name, table, Result)) for name, table in tables.items()}, ramp_stage)


def _bounds(name: str, table: object, kind: type[Struct]) -> Iterator[Bound]:
    if not isinstance(table, dict) or not table:
        raise SloError(f"[{name}] must be a table with one objective at least")
    for keys, line in table.items():
        if not isinstance(line, dict) or "key" in line or len(line.keys() & {"at_most", "at_least"}) != 1:
            raise SloError(f'[{name}] "{keys}" must be a table with exactly one of at_most and at_least')
        for key in keys_of(keys):
            try:
                bound = msgspec.convert({"key": key, **line}, Bound)
                _check(bound, kind)
            except (msgspec.ValidationError, SloError) as error:
                raise SloError(f'[{name}] "{key}": {error}') from None
            yield bound


def keys_of(keys: str) -> list[str]:
    """Return the keys that a line is about: `a.{b,c}` are `a.b` and `a.c`."""
    found = re.fullmatch(r"(.*)\{(.*)\}(.*)", keys)
    return [keys] if found is None else [f"{found[1]}{each.strip()}{found[3]}" for each in found[2].split(",")]


def _check(bound: Bound, kind: type[Struct]) -> None:
    floor = bound.goal if bound.floor is None else bound.floor
    if not (math.isfinite(bound.goal) and math.isfinite(floor)):
        raise SloError("a limit must be a finite number")
    if floor > bound.goal if bound.at_most is None else floor < bound.goal:
        raise SloError("the floor must be easier to reach than the goal")
    for key in (bound.key, *([bound.of] if bound.of else [])):
        here: inspect.Type | None = _type_of(kind)
        for part in key.split("."):
            here = _step(here, part)
            if here is None:
                raise SloError(f"there is no `{part}` in `{key}`")
        if not isinstance(here, inspect.IntType | inspect.FloatType):
            raise SloError(f"`{key}` is not a number")


@cache
def _type_of(kind: type[Struct]) -> inspect.Type:
    # It walks the whole result, and the file has two hundred keys: unkept, half a second of each start of a run.
    return inspect.type_info(kind)


def _step(here: inspect.Type | None, part: str) -> inspect.Type | None:
    """Return the type one step further, without its None; None where there is no such step."""
    found: inspect.Type | None = None
    match here:
        case inspect.StructType(fields=fields):
            found = next((each.type for each in fields if each.name == part), None)
        case inspect.DictType(value_type=found):
            pass
        case inspect.ListType(item_type=inspect.StructType(fields=fields) as found):
            found = found if any(each.name == "name" for each in fields) else None
    if isinstance(found, inspect.UnionType):
        return next(each for each in found.types if not isinstance(each, inspect.NoneType))
    return found


def value_of(key: str, root: Struct) -> float | None:
    """Return the number there; None where nothing was measured. What is counted by name and absent is 0."""
    here: Any = root
    for part in key.split("."):
        if isinstance(here, dict):
            here = here.get(part, 0)
        elif isinstance(here, list):
            here = next((each for each in here if each.name == part), None)
        else:
            here = getattr(here, part, None)
    return None if here is None else float(here)
