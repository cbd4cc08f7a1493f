"""What a run is to do, as values: who comes, in which stages, at which rates, and what befalls the system meanwhile.

Every scenario there is stands in `loadtest/scenarios.toml`, with the load shape that makes its stages.
"""

import enum
import itertools
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from loadtest.exits import CouldNotRun


class Kind(enum.StrEnum):
    """What a user of the scenario is."""

    MESSAGING = "messaging"  # a WebSocket to the relay
    REST = "rest"  # requests to the API


class Behaviour(enum.StrEnum):
    """How a messaging user treats its connection."""

    STEADY = "steady"  # reads at once, confirms, answers pings
    SLOW = "slow"  # reads a little at a time, later than it comes
    DEAF = "deaf"  # half-open: after its handshake it neither reads nor answers
    FLEETING = "fleeting"  # leaves after a while and comes back: churn


class Action(enum.StrEnum):
    """What befalls the system as a stage begins."""

    KILL_NODE = "kill-node"  # SIGKILL to one relay node, which is started again
    DRAIN_NODES = "drain-nodes"  # SIGTERM to one node after the other, each started again
    REBALANCE = "rebalance"  # one node is drained and comes back empty; the others shed what they have too much
    LOSE_BUS = "lose-bus"  # SIGKILL to Valkey, which is away for a while
    FAIL_OVER = "fail-over"  # SIGKILL to Postgres; of ours, which has no standby, it is started again
    GO_OFFLINE = "go-offline"  # the plan's share of users closes its connections
    COME_BACK = "come-back"  # they connect again and fetch what gathered


WORKERS: Final = 2
SPAWN_PER_SECOND: Final = 250.0  # how fast users connect where connecting is not what is measured
_CALM_SECONDS: Final = 3.0
SYSTEM_ACTIONS: Final = frozenset(Action) - {Action.GO_OFFLINE, Action.COME_BACK}  # these two are the users' own


class Sizes(Struct, frozen=True):
    """A distribution over whole numbers: `(value, weight)`, the weights in any unit."""

    weighted: tuple[tuple[int, float], ...]


PAIRS: Final = Sizes(((2, 1.0),))
GROUPS: Final = Sizes(((3, 30.0), (5, 30.0), (8, 20.0), (16, 12.0), (32, 6.0), (64, 2.0)))
"""Group sizes, in shares of groups: most are families and small teams; 64 is the most a conversation may have."""
TEXTS: Final = Sizes(((224, 55.0), (480, 30.0), (992, 10.0), (4_064, 4.0), (16_352, 1.0)))
"""Bytes of one end-to-end ciphertext. Texts are short, padded to buckets; the tail is long texts and key shares."""


class Stage(Struct, frozen=True, kw_only=True):
    """A part of a run. `users` is the number at its end, reached at `spawn_per_second`."""

    name: str
    seconds: float
    users: int
    spawn_per_second: float
    messages_per_second: float = 0.0  # offered by all users together, on an open model
    requests_per_second: float = 0.0  # to the API, likewise
    judged: bool = False  # whether its figures are held against the SLO
    action: Action | None = None

    @property
    def target_per_second(self) -> float:
        """Messages or requests: a stage offers one of the two."""
        return self.messages_per_second or self.requests_per_second


class Plan(Struct, frozen=True, kw_only=True):
    """A scenario with its numbers filled in."""

    scenario: str
    kind: Kind = Kind.MESSAGING
    stages: tuple[Stage, ...]
    seats: int  # devices to be seeded: as many as there are ever users
    rooms: Sizes = PAIRS  # sizes of conversations; a value of `seats` or more is one room of everybody
    payloads: Sizes = TEXTS
    behaviours: tuple[tuple[Behaviour, float], ...] = ((Behaviour.STEADY, 1.0),)
    """`(behaviour, share of users)`; the shares add up to 1."""
    away_share: float = 0.0  # of users, those who go offline and come back
    stay_seconds: float = 30.0  # of a fleeting user, on average, before it leaves
    nodes: int = 1  # relay nodes of a fresh stack
    valkey: bool = False  # whether their bus is Valkey, instead of LISTEN/NOTIFY
    round_trip_ms: float = 0.0  # between users and a fresh stack's nodes
    ramp: bool = False  # whether the run ends at the first stage that breaks, which it names

    @property
    def seconds(self) -> float:
        """How long the plan takes."""
        return sum(stage.seconds for stage in self.stages)


class Options(Struct, frozen=True, kw_only=True):
    """One run, however it is started. What is None is decided by the scenario, or has its default in `--help`."""

    scenario: str = "smoke"
    users: int | None = None
    rate: float | None = None  # messages (or requests) per second of the judged stages
    seconds: float | None = None  # of the longest judged stage
    smoke: bool = False  # so small and short that it fits a minute in all
    workers: int = WORKERS
    crowd: Path | None = None  # people of a system that runs already; without it, a fresh stack is opened and seeded
    out: Path | None = None
    slo: Path | None = None
    nodes: int | None = None
    tls: bool = False
    seed: int = 1
    even: bool = False  # sends at even distances, instead of at random ones as people send
    keep_stack: bool = False
    hook: str | None = None  # for a system of somebody else's: a program that is called with what is to befall it
    clock_budget_ms: float = 1.0
    remote: bool = False  # workers are started by hand, on other machines
    bind: tuple[str, int] = ("127.0.0.1", 0)  # where workers find the master


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
    valkey: bool = False
    round_trip_ms: float = 0.0

    def plan(self, ask: Options) -> Plan:
        """Return the plan with what was asked for filled in. Raises CouldNotRun."""
        default = self.smoke if ask.smoke else self.full
        if ask.rate is not None and not default.rate:
            raise CouldNotRun("this scenario offers no messages of its own, so a rate has no meaning here")
        if ask.users is not None and ask.users < 2:  # noqa: PLR2004 - one talks to another
            raise CouldNotRun("users must be 2 or more")
        asked = {name: value for name in ("users", "rate", "seconds") if (value := getattr(ask, name)) is not None}
        for name, value in asked.items():
            if not 0 < value < float("inf"):
                raise CouldNotRun(f"{name} must be more than 0")
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
            valkey=self.valkey,
            round_trip_ms=self.round_trip_ms,
            ramp=self.shape == "ramp",
        )


def sizes_of(rooms: str, users: int) -> Sizes:
    """Return the sizes of conversations: `pairs`, `groups`, or `one` of everybody."""
    return {"pairs": PAIRS, "groups": GROUPS, "one": Sizes(((users, 1.0),))}[rooms]


_TABLES: Final[dict[str, dict[str, Any]]] = tomllib.loads((Path(__file__).parents[1] / "scenarios.toml").read_text())
SCENARIOS: Final = {name: msgspec.convert({**table, "name": name}, Scenario) for name, table in _TABLES.items()}
