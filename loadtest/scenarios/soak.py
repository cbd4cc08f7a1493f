"""The scenario `soak`: an ordinary load for hours."""

from typing import Final

from loadtest.scenarios.plan import Ask, Kind, Plan
from loadtest.scenarios.scenario import Amounts, Scenario, fill
from loadtest.scenarios.stages import held

_FULL: Final = Amounts(users=2_000, rate=200, seconds=7_200)
_SMOKE: Final = Amounts(users=300, rate=50, seconds=20)
_WARM_SECONDS: Final = 300
"""Caches, pools and the interpreter's own heap reach their size first; their growth is no slope."""
_SMOKE_WARM_SECONDS: Final = 5


def _plan(ask: Ask) -> Plan:
    much = fill(ask, _FULL, _SMOKE)
    return Plan(
        scenario="soak",
        kind=Kind.MESSAGING,
        stages=held(
            much.users, much.rate, much.seconds, _SMOKE_WARM_SECONDS if ask.smoke else min(_WARM_SECONDS, much.seconds)
        ),
        seats=much.users,
    )


SOAK: Final = Scenario(
    name="soak",
    title="Soak",
    shows="Two hours later it is as it was: the same latency, and memory that does not grow.",
    plan=_plan,
)
