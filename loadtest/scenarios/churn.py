"""The scenario `churn`: people come, stay for half a minute and leave, all the time."""

from typing import Final

from loadtest.scenarios.plan import Ask, Behaviour, Kind, Plan
from loadtest.scenarios.scenario import Amounts, Scenario, fill
from loadtest.scenarios.stages import held

_FULL: Final = Amounts(users=3_000, rate=200, seconds=120)
_SMOKE: Final = Amounts(users=300, rate=30, seconds=15)
_WARM_SECONDS: Final = 5
_FLEETING_SHARE: Final = 0.8
_STAY_SECONDS: Final = 30.0
_SMOKE_STAY_SECONDS: Final = 5.0


def _plan(ask: Ask) -> Plan:
    much = fill(ask, _FULL, _SMOKE)
    return Plan(
        scenario="churn",
        kind=Kind.MESSAGING,
        stages=held(much.users, much.rate, much.seconds, _WARM_SECONDS),
        seats=much.users,
        behaviours=((Behaviour.STEADY, 1 - _FLEETING_SHARE), (Behaviour.FLEETING, _FLEETING_SHARE)),
        stay_seconds=_SMOKE_STAY_SECONDS if ask.smoke else _STAY_SECONDS,
    )


CHURN: Final = Scenario(
    name="churn",
    title="Churn",
    shows="Phones come and go, some 80 a second: what that costs those who stay, and that resuming loses nothing.",
    plan=_plan,
)
