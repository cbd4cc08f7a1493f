"""The scenario `slow-readers`: in groups, one in twenty-five reads far too slowly."""

from typing import Final

from loadtest.scenarios.plan import GROUPS, Ask, Behaviour, Kind, Plan, Sizes
from loadtest.scenarios.scenario import Amounts, Scenario, fill
from loadtest.scenarios.stages import held

_FULL: Final = Amounts(users=1_000, rate=150, seconds=180)
_SMOKE: Final = Amounts(users=300, rate=20, seconds=15)
_WARM_SECONDS: Final = 5
_LARGE: Final = Sizes(((16_352, 1.0),))
"""Long texts and key shares only: the outbox of whoever is slow shall fill within the run."""
_SLOW_SHARE: Final = 0.04
"""Below one in twenty, so that the 95th percentile of all is still a figure of those who read well."""


def _plan(ask: Ask) -> Plan:
    much = fill(ask, _FULL, _SMOKE)
    return Plan(
        scenario="slow-readers",
        kind=Kind.MESSAGING,
        stages=held(much.users, much.rate, much.seconds, _WARM_SECONDS),
        seats=much.users,
        rooms=GROUPS,
        payloads=_LARGE,
        behaviours=((Behaviour.STEADY, 1 - _SLOW_SHARE), (Behaviour.SLOW, _SLOW_SHARE)),
    )


SLOW_READERS: Final = Scenario(
    name="slow-readers",
    title="Slow readers",
    shows="People who read too slowly cost the others no time and the node no memory without bound, and lose nothing.",
    plan=_plan,
)
