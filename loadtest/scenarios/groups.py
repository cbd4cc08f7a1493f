"""The scenario `groups`: people write in groups, most of them small, some of 64."""

from typing import Final

from loadtest.scenarios.plan import GROUPS as SIZES
from loadtest.scenarios.plan import Ask, Kind, Plan
from loadtest.scenarios.scenario import Amounts, Scenario, fill
from loadtest.scenarios.stages import held

_FULL: Final = Amounts(users=5_000, rate=200, seconds=120)
_SMOKE: Final = Amounts(users=500, rate=20, seconds=15)
_WARM_SECONDS: Final = 10
_SMOKE_WARM_SECONDS: Final = 3


def _plan(ask: Ask) -> Plan:
    much = fill(ask, _FULL, _SMOKE)
    return Plan(
        scenario="groups",
        kind=Kind.MESSAGING,
        stages=held(much.users, much.rate, much.seconds, _SMOKE_WARM_SECONDS if ask.smoke else _WARM_SECONDS),
        seats=much.users,
        rooms=SIZES,
    )


GROUPS: Final = Scenario(
    name="groups",
    title="Group fan-out",
    shows="What fan-out costs: one ciphertext for a whole group, of sizes as they occur, about 20 deliveries each.",
    plan=_plan,
)
