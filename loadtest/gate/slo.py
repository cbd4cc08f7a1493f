"""The service level objectives, read from `loadtest/slo.toml` or another file of its form.

A word that is misspelt must never be an objective that always holds: each key is looked up in the classes of the
result. A key is dotted; in a list, a name says which: `stages.after.latency_ms.connect.p99`. One line holds for several
keys with `messages.{lost,duplicated}`.
"""

import math
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from loadtest.report.result import Objective, Result, StageFigures
from loadtest.scenarios.catalogue import SCENARIOS

SLO: Final = Path(__file__).parent.parent / "slo.toml"
VERSION: Final = 1
RAMP_STAGE: Final = "stage-of-ramp"  # the table that says when a stage of a ramp counts as broken
_DIGITS: Final = 4


class SloError(Exception):
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
        goal = self.at_least if self.at_most is None else self.at_most
        assert goal is not None
        return goal

    @property
    def _side(self) -> str:
        return "at least" if self.at_most is None else "at most"

    @property
    def goal_words(self) -> str:
        """The goal as a document says it."""
        words = f"{self._side} {number(self.goal)}"
        return words if self.of is None else f"{words} of `{self.of}`"

    def holds(self, measured: float, limit: float) -> bool:
        """Whether a value is on the good side of a limit."""
        return measured >= limit if self.at_most is None else measured <= limit

    def judge(self, root: Struct) -> Objective:
        """Hold what `root` has at the key against the goal. What was not measured misses it."""
        whole = 1.0 if self.of is None else value_of(self.of, root)
        measured = None if whole is None else value_of(self.key, root)
        limit, floor = (None if each is None else each * (whole or 0.0) for each in (self.goal, self.floor))
        assert limit is not None
        met, words = measured is not None and self.holds(measured, limit), self._words(measured, limit, floor)
        found: dict[str, Any] = {"limit": limit, "floor": floor, "measured": measured, "met": met, "words": words}
        return Objective(key=self.key, at_least=self.at_least is not None, **found)

    def _words(self, measured: float | None, limit: float, floor: float | None) -> str:
        goal = f"the goal is {self._side} {number(limit)}"
        if self.of is not None:
            goal += f" ({number(self.goal)} of {self.of})"
        if measured is None:
            return f"{self.key}: nothing was measured; {goal}"
        if floor is None:
            return f"{self.key} is {number(measured)}; {goal}"
        stands = "holds" if self.holds(measured, floor) else "is broken"
        return f"{self.key} is {number(measured)}; {goal}, and the floor of {number(floor)} {stands}"


def number(value: float) -> str:
    """Return a number as a person writes it: no zeros behind the point, four digits where there are more."""
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 10**_DIGITS else f"{value:.{_DIGITS}g}"


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
    unknown = [name for name in tables if name not in SCENARIOS]
    if unknown:
        raise SloError(f"[{unknown[0]}] is no scenario; there are {', '.join(SCENARIOS)}")
    return Slo({name: tuple(_bounds(name, table, Result)) for name, table in tables.items()}, ramp_stage)


def _bounds(name: str, table: object, kind: type[Struct]) -> Iterator[Bound]:
    if not isinstance(table, dict) or not table:
        raise SloError(f"[{name}] must be a table with one objective at least")
    for keys, line in table.items():
        if not isinstance(line, dict) or "key" in line or len(line.keys() & {"at_most", "at_least"}) != 1:
            raise SloError(f'[{name}] "{keys}" must be a table with exactly one of at_most and at_least')
        for key in keys_of(keys):
            yield _bound(f'[{name}] "{key}"', key, line, kind)


def keys_of(keys: str) -> list[str]:
    """Return the keys that a line is about: `a.{b,c}` are `a.b` and `a.c`."""
    found = re.fullmatch(r"(.*)\{(.*)\}(.*)", keys)
    return [keys] if found is None else [f"{found[1]}{each.strip()}{found[3]}" for each in found[2].split(",")]


def _bound(place: str, key: str, line: Mapping[str, object], kind: type[Struct]) -> Bound:
    try:
        bound = msgspec.convert({"key": key, **line}, Bound)
    except msgspec.ValidationError as error:
        raise SloError(f"{place}: {error}") from None
    if not all(math.isfinite(each) for each in (bound.goal, bound.floor) if each is not None):
        raise SloError(f"{place}: a limit must be a finite number")
    for each in (key, bound.of):
        if each is not None and (fault := fault_of(each, kind)) is not None:
            raise SloError(f"{place}: {fault}")
    if bound.floor is not None and not bound.holds(bound.goal, bound.floor):
        raise SloError(f"{place}: the floor must be easier to reach than the goal")
    return bound


def fault_of(key: str, kind: type[Struct]) -> str | None:
    """Return why `key` leads to no number in a `kind`, None when it does."""
    here: Any = kind
    for part in key.split("."):
        here = _step(here, part)
        if here is None:
            return f"there is no `{part}` in `{key}`"
    return None if here in {int, float} else f"`{key}` is not a number"


def value_of(key: str, root: Struct) -> float | None:
    """Return the number there; None where nothing was measured. What is counted by name and absent is 0."""
    here: Any = root
    for part in key.split("."):
        if isinstance(here, dict):
            here = here.get(part, 0)
        elif isinstance(here, list):
            here = next((each for each in here if each.name == part), None)
        else:
            here = getattr(here, part)
        if here is None:
            return None
    return float(here)


def _step(kind: Any, part: str) -> Any:
    """Return the type one step further, without its None; None where there is no such step."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        return arguments[0] if "name" in getattr(arguments[0], "__struct_fields__", ()) else None
    fields = {} if origin is dict else typing.get_type_hints(kind) if hasattr(kind, "__struct_fields__") else {}
    found = arguments[1] if origin is dict else fields.get(part)
    if typing.get_origin(found) in {types.UnionType, typing.Union}:
        return next(each for each in typing.get_args(found) if each is not type(None))
    return found
