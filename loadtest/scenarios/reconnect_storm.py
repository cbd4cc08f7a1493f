"""The scenario `reconnect-storm`: the only node is killed, and everybody comes back at once while people
still write.
"""

from typing import Final

from loadtest.scenarios.plan import Action, Ask, Kind, Plan, Stage
from loadtest.scenarios.scenario import Amounts, Scenario, fill
from loadtest.scenarios.stages import SPAWN_PER_SECOND, arrive, hold, warm

_FULL: Final = Amounts(users=10_000, rate=200, seconds=60)
_SMOKE: Final = Amounts(users=300, rate=30, seconds=15)
_WARM_SECONDS: Final = 5
_AFTER_SECONDS: Final = 20
_SMOKE_AFTER_SECONDS: Final = 5


def _plan(ask: Ask) -> Plan:
    much = fill(ask, _FULL, _SMOKE)
    storm = Stage(
        name="storm",
        seconds=much.seconds,
        users=much.users,
        spawn_per_second=SPAWN_PER_SECOND,
        messages_per_second=much.rate,
        judged=True,
        action=Action.KILL_NODE,
    )
    after = _SMOKE_AFTER_SECONDS if ask.smoke else _AFTER_SECONDS
    return Plan(
        scenario="reconnect-storm",
        kind=Kind.MESSAGING,
        stages=(
            arrive(much.users),
            warm(much.users, much.rate, _WARM_SECONDS),
            storm,
            hold(much.users, much.rate, after, name="after"),
        ),
        seats=much.users,
    )


RECONNECT_STORM: Final = Scenario(
    name="reconnect-storm",
    title="Reconnect storm",
    shows="A node dies by SIGKILL under load: how soon everybody is back, with no message lost, doubled or mixed up.",
    plan=_plan,
)
