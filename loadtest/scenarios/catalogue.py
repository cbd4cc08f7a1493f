"""Every scenario there is: `loadtest/scenarios.toml`, a table of its own for each, and the load shapes it names."""

import itertools
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from loadtest.exits import CouldNotRun
from loadtest.scenarios.plan import GROUPS, PAIRS, TEXTS, Action, Ask, Behaviour, Kind, Plan, Sizes, Stage

SPAWN_PER_SECOND: Final = 250.0  # how fast users connect where connecting is not what is measured
_CALM_SECONDS: Final = 3.0


class AskError(CouldNotRun):
    """The scenario cannot be run with these choices; the text says which and why."""


class Amounts(Struct, frozen=True, forbid_unknown_fields=True):
    """How much of everything. A `rate` of 0 means that the scenario offers nothing."""

    users: int
    rate: float  # messages (or requests) per second
    seconds: float  # of the longest judged stage
    warm: float = 0  # seconds of load that is not judged: caches fill, the collector finds its pace
    after: float = 0  # seconds judged after what was done to the system; 0 for no such stage
    begin: float = 1  # of a ramp: it begins with `rate` divided by this
    stay: float = 30  # seconds that a fleeting user stays, on average


def _stage(name: str, seconds: float, much: Amounts, *, judged: bool = True, **other: Any) -> Stage:
    usual = {"spawn_per_second": SPAWN_PER_SECOND, "messages_per_second": much.rate}
    return Stage(**{"name": name, "seconds": seconds, "users": much.users, "judged": judged, **usual, **other})


def _arrive(much: Amounts) -> Stage:
    return _stage("arrive", much.users / SPAWN_PER_SECOND + _CALM_SECONDS, much, judged=False, messages_per_second=0.0)


def _held(much: Amounts, scenario: "Scenario") -> tuple[Stage, ...]:
    """Everybody connects, the load warms up and is judged; an action comes at the beginning of the judged stage."""
    judged = _stage(scenario.judged, much.seconds, much, action=scenario.action)
    after = (_stage("after", much.after, much),) if much.after else ()
    return (_arrive(much), _stage("warm", much.warm, much, judged=False), judged, *after)


def _connecting(much: Amounts, _: "Scenario") -> tuple[Stage, ...]:
    """Everybody connects while it is judged."""
    storm = _stage("storm", much.seconds, much, spawn_per_second=much.users / much.seconds)
    return storm, _stage("after", much.after, much)


def _away_and_back(much: Amounts, _: "Scenario") -> tuple[Stage, ...]:
    """A share of the users goes offline, and comes back."""
    away = _stage("away", much.seconds, much, judged=False, action=Action.GO_OFFLINE)
    back = _stage("back", much.seconds, much, action=Action.COME_BACK)
    return _arrive(much), away, back, _stage("after", much.after, much)


def _requests(much: Amounts, _: "Scenario") -> tuple[Stage, ...]:
    """Requests to the API: there is nothing to connect beforehand."""
    rates: dict[str, Any] = {
        "spawn_per_second": much.users,
        "messages_per_second": 0.0,
        "requests_per_second": much.rate,
    }
    return _stage("warm", much.warm, much, judged=False, **rates), _stage("hold", much.seconds, much, **rates)


def _ramp(much: Amounts, _: "Scenario") -> tuple[Stage, ...]:
    """The rate grows by a quarter from stage to stage, up to the one that was asked for."""
    begin = much.rate / much.begin
    climb = itertools.takewhile(lambda rate: rate < much.rate, (begin * 1.25**step for step in itertools.count()))
    steps = [round(rate) if rate >= 1 else rate for rate in (*climb, much.rate)]
    warm = _stage("warm", much.seconds / 2, much, judged=False, messages_per_second=begin)
    held = (_stage(f"at-{rate:g}", much.seconds, much, messages_per_second=rate) for rate in steps)
    return (_arrive(much), warm, *held)


_SHAPES: Final[dict[str, Callable[[Amounts, "Scenario"], tuple[Stage, ...]]]] = {
    "held": _held,
    "connecting": _connecting,
    "away-and-back": _away_and_back,
    "requests": _requests,
    "ramp": _ramp,
}


class Scenario(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A load shape with a name, in its own size and in a small one."""

    name: str
    title: str
    shows: str  # in a sentence or two: what one knows after the run
    full: Amounts
    smoke: Amounts
    shape: Literal["held", "connecting", "away-and-back", "requests", "ramp"] = "held"
    judged: str = "hold"  # the name of the judged stage
    action: Action | None = None
    warm_within: bool = False  # whether the warm stage is never longer than the judged one
    rooms: Literal["pairs", "groups", "one"] = "pairs"
    kind: Kind = Kind.MESSAGING
    behaviours: tuple[tuple[Behaviour, float], ...] = ((Behaviour.STEADY, 1.0),)
    payloads: Sizes = TEXTS
    away_share: float = 0.0
    nodes: int = 1

    def plan(self, ask: Ask) -> Plan:
        """Return the plan with what was asked for filled in. Raises AskError."""
        default = self.smoke if ask.smoke else self.full
        if ask.rate is not None and not default.rate:
            raise AskError("this scenario offers no messages of its own, so a rate has no meaning here")
        if ask.users is not None and ask.users < 2:  # noqa: PLR2004 - one talks to another
            raise AskError("users must be 2 or more")
        asked = {name: value for name in ("users", "rate", "seconds") if (value := getattr(ask, name)) is not None}
        for name, value in asked.items():
            if not 0 < value < float("inf"):
                raise AskError(f"{name} must be more than 0")
        much = replace(default, **asked)
        if self.warm_within:
            much = replace(much, warm=min(much.warm, much.seconds))
        return Plan(
            scenario=self.name,
            kind=self.kind,
            stages=_SHAPES[self.shape](much, self),
            seats=much.users,
            rooms=sizes_of(self.rooms, much.users),
            payloads=self.payloads,
            behaviours=self.behaviours,
            away_share=self.away_share,
            stay_seconds=much.stay,
            nodes=self.nodes,
            ramp=self.shape == "ramp",
        )


def sizes_of(rooms: str, users: int) -> Sizes:
    """Return the sizes of conversations: `pairs`, `groups`, or `one` of everybody."""
    return {"pairs": PAIRS, "groups": GROUPS, "one": Sizes(((users, 1.0),))}[rooms]


_TABLES: Final[dict[str, dict[str, Any]]] = tomllib.loads((Path(__file__).parents[1] / "scenarios.toml").read_text())
SCENARIOS: Final = {name: msgspec.convert({**table, "name": name}, Scenario) for name, table in _TABLES.items()}
