"""The scenario `idle`: people are there and say nothing."""

from typing import Final

from loadtest.scenarios.plan import Ask, Kind, Plan
from loadtest.scenarios.scenario import Amounts, Scenario, fill
from loadtest.scenarios.stages import held

_FULL: Final = Amounts(users=10_000, rate=0, seconds=120)
_SMOKE: Final = Amounts(users=500, rate=0, seconds=15)
_QUIET_SECONDS: Final = 5


def _plan(ask: Ask) -> Plan:
    much = fill(ask, _FULL, _SMOKE)
    return Plan(
        scenario="idle",
        kind=Kind.MESSAGING,
        stages=held(much.users, much.rate, much.seconds, _QUIET_SECONDS),
        seats=much.users,
    )


IDLE: Final = Scenario(
    name="idle",
    title="Idle hold",
    shows="10,000 authenticated connections stay up with nothing but heartbeats, and what that costs.",
    plan=_plan,
)
