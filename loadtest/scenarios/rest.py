"""The scenario `rest`: the API's mix of sign-in, profiles, devices, prekeys and tickets."""

from typing import Final

from loadtest.scenarios.plan import Ask, Kind, Plan, Stage
from loadtest.scenarios.scenario import Amounts, Scenario, fill

_FULL: Final = Amounts(users=500, rate=150, seconds=120)
_SMOKE: Final = Amounts(users=100, rate=30, seconds=15)
_WARM_SECONDS: Final = 10
_SMOKE_WARM_SECONDS: Final = 3


def _plan(ask: Ask) -> Plan:
    much = fill(ask, _FULL, _SMOKE)

    def stage(name: str, seconds: float, *, judged: bool) -> Stage:
        return Stage(
            name=name,
            seconds=seconds,
            users=much.users,
            spawn_per_second=much.users,  # who makes requests has nothing to open beforehand
            requests_per_second=much.rate,
            judged=judged,
        )

    return Plan(
        scenario="rest",
        kind=Kind.REST,
        stages=(
            stage("warm", _SMOKE_WARM_SECONDS if ask.smoke else _WARM_SECONDS, judged=False),
            stage("hold", much.seconds, judged=True),
        ),
        seats=much.users,
    )


REST: Final = Scenario(
    name="rest",
    title="Mixed REST",
    shows="How long each operation of the API takes in a mix as people make it, at 150 requests a second.",
    plan=_plan,
)
