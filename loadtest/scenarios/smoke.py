"""The scenario `smoke`: a little of what `steady` is, in under a minute with everything."""

from typing import Final

from loadtest.scenarios.plan import Ask, Kind, Plan
from loadtest.scenarios.scenario import Amounts, Scenario, fill
from loadtest.scenarios.stages import held

_FULL: Final = Amounts(users=500, rate=100, seconds=20)
_WARM_SECONDS: Final = 3


def _plan(ask: Ask) -> Plan:
    much = fill(ask, _FULL, _FULL)
    return Plan(
        scenario="smoke",
        kind=Kind.MESSAGING,
        stages=held(much.users, much.rate, much.seconds, min(_WARM_SECONDS, much.seconds)),
        seats=much.users,
    )


SMOKE: Final = Scenario(
    name="smoke",
    title="Smoke run",
    shows="Everything stands together: people connect, talk in pairs, and each message arrives once and in order.",
    plan=_plan,
)
