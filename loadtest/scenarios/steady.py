"""The scenario `steady`: people write to each other in pairs, at one rate.

The goal of the house and the floor of the papers are about this one.
"""

from typing import Final

from loadtest.scenarios.plan import Ask, Kind, Plan
from loadtest.scenarios.scenario import Amounts, Scenario, fill
from loadtest.scenarios.stages import held

_FULL: Final = Amounts(users=10_000, rate=1_000, seconds=300)
_SMOKE: Final = Amounts(users=500, rate=100, seconds=15)
_WARM_SECONDS: Final = 20
_SMOKE_WARM_SECONDS: Final = 3


def _plan(ask: Ask) -> Plan:
    much = fill(ask, _FULL, _SMOKE)
    return Plan(
        scenario="steady",
        kind=Kind.MESSAGING,
        stages=held(much.users, much.rate, much.seconds, _SMOKE_WARM_SECONDS if ask.smoke else _WARM_SECONDS),
        seats=much.users,
    )


STEADY: Final = Scenario(
    name="steady",
    title="Steady 1:1",
    shows="How late a durable message between two people is at 1,000 a second over 10,000 connections, for minutes.",
    plan=_plan,
)
