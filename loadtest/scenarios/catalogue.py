"""Every scenario there is, as one table."""

import itertools
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from loadtest.exits import CouldNotRun
from loadtest.scenarios.plan import GROUPS, Action, Ask, Behaviour, Kind, Plan, Sizes, Stage

SPAWN_PER_SECOND: Final = 250.0  # how fast users connect where connecting is not what is measured
_CALM_SECONDS: Final = 3.0


class AskError(CouldNotRun):
    """The scenario cannot be run with these choices; the text says which and why."""


class Amounts(Struct, frozen=True):
    """How much of everything. A `rate` of 0 means that the scenario offers nothing."""

    users: int
    rate: float  # messages (or requests) per second
    seconds: float  # of the longest judged stage
    warm: float = 0  # seconds of load that is not judged: caches fill, the collector finds its pace
    after: float = 0  # seconds judged after what was done to the system; 0 for no such stage
    begin: float = 1  # of a ramp: where it begins, as a share of `rate`
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
    begin = much.rate * much.begin
    climb = itertools.takewhile(lambda rate: rate < much.rate, (begin * 1.25**step for step in itertools.count()))
    steps = [round(rate) if rate >= 1 else rate for rate in (*climb, much.rate)]
    warm = _stage("warm", much.seconds / 2, much, judged=False, messages_per_second=begin)
    held = (_stage(f"at-{rate:g}", much.seconds, much, messages_per_second=rate) for rate in steps)
    return (_arrive(much), warm, *held)


class Scenario(Struct, frozen=True):
    """A load shape with a name, in its own size and in a small one."""

    title: str
    shows: str  # in a sentence or two: what one knows after the run
    amounts: tuple[Amounts, Amounts]  # in full, and for a smoke run
    stages: Callable[[Amounts, "Scenario"], tuple[Stage, ...]] = _held
    judged: str = "hold"  # the name of the judged stage
    action: Action | None = None
    warm_within: bool = False  # whether the warm stage is never longer than the judged one
    one_room: bool = False
    more: dict[str, Any] = {}  # other fields of the plan
    name: str = ""

    def plan(self, ask: Ask) -> Plan:
        """Return the plan with what was asked for filled in. Raises AskError."""
        default = self.amounts[ask.smoke]
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
        rooms = {"rooms": Sizes(((much.users, 1.0),))} if self.one_room else {}
        shape: dict[str, Any] = {"stages": self.stages(much, self), "ramp": self.stages is _ramp, **rooms, **self.more}
        return Plan(scenario=self.name, seats=much.users, stay_seconds=much.stay, **shape)


def _unlike(behaviour: Behaviour, share: float) -> tuple[tuple[Behaviour, float], ...]:
    return (Behaviour.STEADY, 1 - share), (behaviour, share)


_TABLE: Final = {
    "smoke": Scenario(
        "Smoke run",
        "Everything stands together: people connect, talk in pairs, and each message arrives once and in order.",
        (Amounts(500, 100, 20, warm=3), Amounts(500, 100, 20, warm=3)),
        warm_within=True,
    ),
    "idle": Scenario(
        "Idle hold",
        "10,000 authenticated connections stay up with nothing but heartbeats, and what that costs.",
        (Amounts(10_000, 0, 120, warm=5), Amounts(500, 0, 15, warm=5)),
    ),
    "steady": Scenario(
        "Steady 1:1",
        "How late a durable message between two people is at 1,000 a second over 10,000 connections, for minutes.",
        (Amounts(10_000, 1_000, 300, warm=20), Amounts(500, 100, 15, warm=3)),
    ),
    "groups": Scenario(
        "Group fan-out",
        "What fan-out costs: one ciphertext for a whole group, of sizes as they occur, about 20 deliveries each.",
        (Amounts(5_000, 200, 120, warm=10), Amounts(500, 20, 15, warm=3)),
        more={"rooms": GROUPS},
    ),
    "flood": Scenario(
        "Flood of one room",
        "How long it takes until the last of 2,000 listeners has a message, when every message is for all of them.",
        (Amounts(2_000, 5, 120, warm=5), Amounts(300, 5, 15, warm=5)),
        one_room=True,  # seeded past the API, which would refuse it: what a channel will be
    ),
    "connect-storm": Scenario(
        "Connect storm",
        "10,000 devices come within 30 seconds: each gets in, and how long it takes from SYN to Welcome.",
        (Amounts(10_000, 0, 30, after=10), Amounts(500, 0, 5, after=10)),
        stages=_connecting,
    ),
    "reconnect-storm": Scenario(
        "Reconnect storm",
        "A node dies by SIGKILL under load: how soon everybody is back, with no message lost, doubled or mixed up.",
        (Amounts(10_000, 200, 60, warm=5, after=20), Amounts(300, 30, 15, warm=5, after=5)),
        judged="storm",
        action=Action.KILL_NODE,
    ),
    "drain": Scenario(
        "Rolling drain",
        "Nodes are replaced one by one under load, as at each release, and nobody loses a message.",
        (Amounts(10_000, 200, 90, warm=3, after=20), Amounts(200, 20, 25, warm=3, after=4)),
        judged="drain",
        action=Action.DRAIN_NODES,
        more={"nodes": 2},
    ),
    "slow-readers": Scenario(
        "Slow readers",
        "People who read too slowly cost the others no time and the node no memory without bound, and lose nothing.",
        (Amounts(1_000, 150, 180, warm=5), Amounts(300, 20, 15, warm=5)),
        # Of all users, the 95th percentile is still one of those who read well. With this payload the outbox of whoever
        # is slow fills within the run.
        more={"behaviours": _unlike(Behaviour.SLOW, 0.04), "payloads": Sizes(((16_352, 1.0),)), "rooms": GROUPS},
    ),
    "half-open": Scenario(
        "Half-open peers",
        "A fifth of the peers falls silent: the node notices, lets them go, and the others feel nothing of it.",
        (Amounts(2_000, 200, 180, warm=5), Amounts(300, 30, 15, warm=5)),
        more={"behaviours": _unlike(Behaviour.DEAF, 0.2)},
    ),
    "backlog": Scenario(
        "Offline backlog",
        "Half of the people come back together: how soon they have all that was written to them, whole and in order.",
        (Amounts(4_000, 400, 60, after=15), Amounts(300, 40, 12, after=4)),
        stages=_away_and_back,
        more={"away_share": 0.5},
    ),
    "churn": Scenario(
        "Churn",
        "Phones come and go, some 80 a second: what that costs those who stay, and that resuming loses nothing.",
        (Amounts(3_000, 200, 120, warm=5), Amounts(300, 30, 15, warm=5, stay=5)),
        more={"behaviours": _unlike(Behaviour.FLEETING, 0.8)},
    ),
    "rest": Scenario(
        "Mixed REST",
        "How long each operation of the API takes in a mix as people make it, at 150 requests a second.",
        (Amounts(500, 150, 120, warm=10), Amounts(100, 30, 15, warm=3)),
        stages=_requests,
        more={"kind": Kind.REST},
    ),
    "soak": Scenario(
        "Soak",
        "Two hours later it is as it was: the same latency, and memory that does not grow.",
        # Caches, pools and the interpreter's heap reach their size first; their growth is no slope.
        (Amounts(2_000, 200, 7_200, warm=300), Amounts(300, 50, 20, warm=5)),
        warm_within=True,
    ),
    "ramp": Scenario(
        "Ramp to the breaking point",
        "The highest rate that still holds, and what gives way first beyond it: latency, throughput or connections.",
        (Amounts(2_000, 12_000, 20, begin=1 / 24), Amounts(300, 1_000, 5, begin=1 / 3)),
        stages=_ramp,
    ),
}
SCENARIOS: Final = {name: replace(scenario, name=name) for name, scenario in _TABLE.items()}
