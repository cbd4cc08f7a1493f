"""The scenario `connect-storm`: everybody comes within half a minute."""

from typing import Final

from loadtest.scenarios.plan import Ask, Kind, Plan, Stage
from loadtest.scenarios.scenario import Amounts, Scenario, fill
from loadtest.scenarios.stages import hold

_FULL: Final = Amounts(users=10_000, rate=0, seconds=30)
_SMOKE: Final = Amounts(users=500, rate=0, seconds=5)
_AFTER_SECONDS: Final = 10


def _plan(ask: Ask) -> Plan:
    much = fill(ask, _FULL, _SMOKE)
    storm = Stage(
        name="storm",
        seconds=much.seconds,
        users=much.users,
        spawn_per_second=much.users / much.seconds,
        judged=True,
    )
    return Plan(
        scenario="connect-storm",
        kind=Kind.MESSAGING,
        stages=(storm, hold(much.users, 0, _AFTER_SECONDS, name="after")),
        seats=much.users,
    )


CONNECT_STORM: Final = Scenario(
    name="connect-storm",
    title="Connect storm",
    shows="10,000 devices come within 30 seconds: each gets in, and how long it takes from SYN to Welcome.",
    plan=_plan,
)
