"""The gate: the service level objectives, the verdict on a run, and what it found out beside its figures.

Objectives are read from `loadtest/slo.toml` or another file of its form. INVALID comes before MISSED before MET.

A word that is misspelt must never be an objective that always holds: each key is looked up in the classes of the
result. A key is dotted; in a list, a name says which: `stages.after.latency_ms.connect.p99`. One line holds for several
keys with `messages.{lost,duplicated}`.
"""

import math
import re
import statistics
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct, inspect

from loadtest.exits import CouldNotRun, Verdict
from loadtest.report.formatting import figure
from loadtest.report.result import CPU_LIMIT, Finding, Objective, Result, StageFigures
from loadtest.scenarios.plan import SCENARIOS, SYSTEM_ACTIONS, Action

SLO: Final = Path(__file__).with_name("slo.toml")
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


BREAKING_POINT: Final = "breaking-point"
WHOLE: Final = 0.999
"""Of the users, those who must be there for everybody to be back; churn takes a few away at any time."""
FLUSHED: Final = 0.01  # of the most that was outstanding, what may be under way when a backlog counts as fetched
_LEAST_SAMPLES: Final = 5
_SLOPE_SECONDS: Final = 600  # shorter, and an hour's slope would be made of noise
_DEVIATIONS: Final = 3
_NOUNS: Final = {"latency_ms": "latency", "messages_per_second": "throughput", "requests_per_second": "throughput"}


def judge(result: Result, slo: Slo) -> Result:
    """Return the judged result; one that FAILED stays FAILED. Raises SloError for a scenario without a table."""
    bounds = slo.bounds_of(result.scenario)
    result = msgspec.structs.replace(result, findings=findings_of(result, slo))
    objectives = [bound.judge(result) for bound in bounds]
    verdict, reasons = result.verdict, result.reasons
    if verdict is not Verdict.FAILED:
        verdict, reasons = Verdict.INVALID, _invalid(result)
        if not reasons:
            reasons = [objective.words for objective in objectives if not objective.met]
            verdict = Verdict.MISSED if reasons else Verdict.MET
    return msgspec.structs.replace(result, objectives=objectives, verdict=verdict, reasons=reasons)


def _invalid(result: Result) -> list[str]:
    """Return why nothing was learned. What the run itself put into `reasons` and `bottlenecks` is kept."""
    generator = result.generator
    said = list(result.reasons) if result.verdict is Verdict.INVALID else []
    said += ["interrupted"] * result.interrupted + generator.bottlenecks
    # Where nobody has named a bottleneck, the figures alone may make a run invalid.
    if not generator.bottlenecks and generator.missing_workers:
        said.append(f"{generator.missing_workers} of {generator.expected_workers} workers went missing")
    if not generator.bottlenecks and generator.cpu_max_percent > CPU_LIMIT:
        said.append(f"a worker of the generator used {generator.cpu_max_percent:.0f} % of a core")
    return list(dict.fromkeys(said))


def findings_of(result: Result, slo: Slo) -> list[Finding]:
    """Return what the run had found already, and what its series shows."""
    found = {finding.name: finding for finding in result.findings}
    if result.plan.get("ramp") and BREAKING_POINT not in found:
        found[BREAKING_POINT] = breaking_point(result.stages, slo)
    planned: list[dict[str, Any]] = result.plan.get("stages", [])
    actions = {stage["name"]: Action(stage["action"]) for stage in planned if stage.get("action")}
    reached = [(stage, actions[stage.name]) for stage in result.stages if stage.name in actions]
    for stage, action in reached:
        if action in {*SYSTEM_ACTIONS, Action.COME_BACK}:
            found.setdefault("recovery", _recovery(result, stage))
        if action is Action.COME_BACK:
            found.setdefault("flush", _flush(result, stage))
    if not any(action in SYSTEM_ACTIONS for _, action in reached):
        for finding in _memory(result):
            found.setdefault(finding.name, finding)
    return list(found.values())


def _recovery(result: Result, stage: StageFigures) -> Finding:
    """From the action until everybody is connected and stays so."""
    after = [sample for sample in result.series if sample.at_s >= stage.began_s]
    least = result.users.asked * WHOLE
    gone = [sample.at_s for sample in after if sample.connected < least]
    if not after or (gone and gone[-1] == after[-1].at_s):
        return Finding(name="recovery", value=None, unit="s", words="not everybody was back at the end")
    seconds = next(each.at_s for each in after if each.at_s > gone[-1]) - stage.began_s if gone else 0.0
    lowest = min(sample.connected for sample in after)
    words = f"everybody was back after {seconds:.0f} s; {lowest} were left at worst"
    return Finding(name="recovery", value=seconds, unit="s", words=words)


def _flush(result: Result, stage: StageFigures) -> Finding:
    """From the coming back until what had gathered was fetched, by the sums of what was sent and received."""
    each = result.messages.due / result.messages.sent if result.messages.sent else 0.0
    outstanding, most, since = 0.0, 0.0, 0.0
    for sample in result.series:
        outstanding += (sample.sent_per_second * each - sample.received_per_second) * (sample.at_s - since)
        since = sample.at_s
        if sample.at_s < stage.began_s:
            most = max(most, outstanding)
        elif outstanding <= most * FLUSHED + sample.sent_per_second * each:
            took = sample.at_s - stage.began_s
            words = f"{most:.0f} messages that had gathered were fetched in {took:.0f} s"
            return Finding(name="flush", value=took, unit="s", words=words)
    words = f"of {most:.0f} messages that had gathered, {outstanding:.0f} were left"
    return Finding(name="flush", value=None, unit="s", words=words)


def _memory(result: Result) -> Iterator[Finding]:
    """The straight line through the relay's resident memory over the judged stages."""
    points = []
    for sample in result.judged_series:
        nodes = [mib for key, mib in sample.server.items() if key.startswith("relay") and key.endswith(".rss_mib")]
        if nodes:
            points.append((sample.at_s, sum(nodes)))
    if len(points) < _LEAST_SAMPLES:
        return
    times, sizes = zip(*points, strict=True)
    slope, span = statistics.linear_regression(times, sizes).slope, times[-1] - times[0]
    words = f"the relay's memory grew by {slope * span:.1f} MiB while judged"
    yield Finding(name="memory-growth", value=slope * span, unit="MiB", words=words)
    if span >= _SLOPE_SECONDS:
        words = f"that is {slope * 3600:.1f} MiB an hour, by the straight line through {span / 60:.0f} minutes"
        yield Finding(name="memory-slope", value=slope * 3600, unit="MiB/h", words=words)


def breaks(stage: StageFigures, slo: Slo, asked: int | None = None) -> list[str]:
    """Return in words what of a stage broke; nothing when it holds. `asked` is how many users should be connected."""
    # The least that random arrivals make of a rate is its target: three deviations of their number less.
    due = stage.target_per_second * stage.seconds
    least = max(0.0, due - _DEVIATIONS * math.sqrt(due)) / stage.seconds if stage.seconds else 0.0
    by_chance = msgspec.structs.replace(stage, target_per_second=least)
    objectives = [bound.judge(by_chance) for bound in slo.ramp_stage]
    nouns = [_NOUNS.get(each.key.partition(".")[0], each.key) for each in objectives]
    pairs = zip(nouns, objectives, strict=True)
    missed = [f"{noun} gives way ({each.words})" for noun, each in pairs if not each.met]
    if asked is not None and stage.users < asked:
        missed.append(f"connections give way (only {figure(stage.users)} of {figure(asked)} are left)")
    return missed


def breaking_point(
    stages: Sequence[StageFigures], slo: Slo, asked: int | None = None, *, ended_by: Sequence[str] = ()
) -> Finding:
    """Name the highest rate that held before the first judged stage that broke, and what broke there.

    `ended_by` is what was seen to break in the last stage, and ended the run. The ledgers know more than was seen: an
    earlier stage, or a last one that seemed to hold, may turn out to have been too much.
    """
    judged = [stage for stage in stages if stage.judged]
    value, held, words = None, "nothing held", "no stage of the ramp came to its end"
    for stage in judged:
        seen = ended_by if stage is judged[-1] else ()
        if missed := seen or breaks(stage, slo, asked):
            value, words = value or 0.0, f"{held}; {_at(stage, missed)}"
            if not seen:
                words += ", as the ledgers showed afterwards"
                words += f"; the run went on, and ended {_at(judged[-1], ended_by)}" if ended_by else ""
            break
        value, held = stage.target_per_second, f"{figure(stage.target_per_second)} messages a second hold"
        words = f"{held}, the highest rate tried: nothing broke"
    return Finding(name=BREAKING_POINT, value=value, unit="messages/s", words=words)


def _at(stage: StageFigures, missed: Sequence[str]) -> str:
    return f"at {figure(stage.target_per_second)} {'; '.join(missed)}"
