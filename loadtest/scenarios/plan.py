"""What a run is to do, as values: who comes, in which stages, at which rates, and what befalls the system meanwhile."""

import enum
from pathlib import Path
from typing import Final

from msgspec import Struct


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
    GO_OFFLINE = "go-offline"  # the plan's share of users closes its connections
    COME_BACK = "come-back"  # they connect again and fetch what gathered


WORKERS: Final = 2
SYSTEM_ACTIONS: Final = frozenset({Action.KILL_NODE, Action.DRAIN_NODES})  # the other actions are the users' own


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
    ramp: bool = False  # whether the run ends at the first stage that breaks, which it names

    @property
    def seconds(self) -> float:
        """How long the plan takes."""
        return sum(stage.seconds for stage in self.stages)


class Ask(Struct, frozen=True, kw_only=True):
    """What whoever starts a run may choose; None leaves the scenario's default."""

    users: int | None = None
    rate: float | None = None  # messages (or requests) per second of the judged stages
    seconds: float | None = None  # of the longest judged stage
    smoke: bool = False  # so small and short that it fits a minute in all


class Options(Ask, frozen=True, kw_only=True):
    """One run, however it is started. What is None is decided by the scenario, or has its default in `--help`."""

    scenario: str
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
