"""The scenario `flood`: everybody is in one room, as in a channel.

The room is seeded past the API, which would refuse it; the relay is shown what a channel will be.
"""

from typing import Final

from loadtest.scenarios.plan import Ask, Kind, Plan, Sizes
from loadtest.scenarios.scenario import Amounts, Scenario, fill
from loadtest.scenarios.stages import held

_FULL: Final = Amounts(users=2_000, rate=5, seconds=120)
_SMOKE: Final = Amounts(users=300, rate=5, seconds=15)
_WARM_SECONDS: Final = 5


def _plan(ask: Ask) -> Plan:
    much = fill(ask, _FULL, _SMOKE)
    return Plan(
        scenario="flood",
        kind=Kind.MESSAGING,
        stages=held(much.users, much.rate, much.seconds, _WARM_SECONDS),
        seats=much.users,
        rooms=Sizes(((much.users, 1.0),)),
    )


FLOOD: Final = Scenario(
    name="flood",
    title="Flood of one room",
    shows="How long it takes until the last of 2,000 listeners has a message, when every message is for all of them.",
    plan=_plan,
)
