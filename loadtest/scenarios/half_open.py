"""The scenario `half-open`: some peers fall silent without closing, as phones in tunnels do."""

from typing import Final

from loadtest.scenarios.plan import Ask, Behaviour, Kind, Plan
from loadtest.scenarios.scenario import Amounts, Scenario, fill
from loadtest.scenarios.stages import held

_FULL: Final = Amounts(users=2_000, rate=200, seconds=180)
_SMOKE: Final = Amounts(users=300, rate=30, seconds=15)
_WARM_SECONDS: Final = 5
_DEAF_SHARE: Final = 0.2


def _plan(ask: Ask) -> Plan:
    much = fill(ask, _FULL, _SMOKE)
    return Plan(
        scenario="half-open",
        kind=Kind.MESSAGING,
        stages=held(much.users, much.rate, much.seconds, _WARM_SECONDS),
        seats=much.users,
        behaviours=((Behaviour.STEADY, 1 - _DEAF_SHARE), (Behaviour.DEAF, _DEAF_SHARE)),
    )


HALF_OPEN: Final = Scenario(
    name="half-open",
    title="Half-open peers",
    shows="A fifth of the peers falls silent: the node notices, lets them go, and the others feel nothing of it.",
    plan=_plan,
)
