"""The scenario `drain`: two nodes are replaced one after the other, in good order, while people write."""

from typing import Final

from loadtest.scenarios.plan import Action, Ask, Kind, Plan, Stage
from loadtest.scenarios.scenario import Amounts, Scenario, fill
from loadtest.scenarios.stages import SPAWN_PER_SECOND, arrive, hold, warm

_FULL: Final = Amounts(users=10_000, rate=200, seconds=90)
_SMOKE: Final = Amounts(users=200, rate=20, seconds=25)
_WARM_SECONDS: Final = 3
_AFTER_SECONDS: Final = 20
_SMOKE_AFTER_SECONDS: Final = 4


def _plan(ask: Ask) -> Plan:
    much = fill(ask, _FULL, _SMOKE)
    drained = Stage(
        name="drain",
        seconds=much.seconds,
        users=much.users,
        spawn_per_second=SPAWN_PER_SECOND,
        messages_per_second=much.rate,
        judged=True,
        action=Action.DRAIN_NODES,
    )
    after = _SMOKE_AFTER_SECONDS if ask.smoke else _AFTER_SECONDS
    return Plan(
        scenario="drain",
        kind=Kind.MESSAGING,
        stages=(
            arrive(much.users),
            warm(much.users, much.rate, _WARM_SECONDS),
            drained,
            hold(much.users, much.rate, after, name="after"),
        ),
        seats=much.users,
        nodes=2,
    )


DRAIN: Final = Scenario(
    name="drain",
    title="Rolling drain",
    shows="Nodes are replaced one by one under load, as at each release, and nobody loses a message.",
    plan=_plan,
)
