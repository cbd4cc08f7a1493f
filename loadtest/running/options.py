"""What a run was asked for, however it is started."""

from pathlib import Path

from msgspec import Struct

from loadtest.scenarios.plan import Ask

WORKERS = 2


class Options(Struct, frozen=True, kw_only=True):
    """One run. What is None is decided by the scenario, or by the default that `--help` tells."""

    scenario: str
    ask: Ask = Ask()
    workers: int = WORKERS
    crowd: Path | None = None  # people of a system that runs already; without it, a fresh stack is opened and seeded
    out: Path | None = None
    slo: Path | None = None
    nodes: int | None = None
    tls: bool = False
    seed: int = 1
    even: bool = False  # sends at even distances, instead of at random ones as people send
    keep_stack: bool = False
    hook: str | None = None
    """For a system of somebody else's: a program that is called with the action that is to befall it."""
    clock_budget_ms: float = 1.0
    remote: bool = False  # workers are started by hand, on other machines
    bind: tuple[str, int] = ("127.0.0.1", 0)  # where workers find the master
