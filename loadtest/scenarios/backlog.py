"""The scenario `backlog`: half of the people are away while the others write to them, then all come back at once."""

from typing import Final

from loadtest.scenarios.plan import Action, Ask, Kind, Plan, Stage
from loadtest.scenarios.scenario import Amounts, Scenario, fill
from loadtest.scenarios.stages import SPAWN_PER_SECOND, arrive, hold

_FULL: Final = Amounts(users=4_000, rate=400, seconds=60)
_SMOKE: Final = Amounts(users=300, rate=40, seconds=12)
_AWAY_SHARE: Final = 0.5
_AFTER_SECONDS: Final = 15
_SMOKE_AFTER_SECONDS: Final = 4


def _plan(ask: Ask) -> Plan:
    much = fill(ask, _FULL, _SMOKE)

    def stage(name: str, action: Action, *, judged: bool) -> Stage:
        return Stage(
            name=name,
            seconds=much.seconds,
            users=much.users,
            spawn_per_second=SPAWN_PER_SECOND,
            messages_per_second=much.rate,
            judged=judged,
            action=action,
        )

    after = _SMOKE_AFTER_SECONDS if ask.smoke else _AFTER_SECONDS
    return Plan(
        scenario="backlog",
        kind=Kind.MESSAGING,
        stages=(
            arrive(much.users),
            stage("away", Action.GO_OFFLINE, judged=False),
            stage("back", Action.COME_BACK, judged=True),
            hold(much.users, much.rate, after, name="after"),
        ),
        seats=much.users,
        away_share=_AWAY_SHARE,
    )


BACKLOG: Final = Scenario(
    name="backlog",
    title="Offline backlog",
    shows="Half of the people come back together: how soon they have all that was written to them, whole and in order.",
    plan=_plan,
)
