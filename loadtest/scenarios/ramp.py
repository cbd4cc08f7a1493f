"""The scenario `ramp`: the rate grows by a quarter from stage to stage until something breaks."""

import itertools
from collections.abc import Iterator
from typing import Final

from loadtest.scenarios.plan import Ask, Kind, Plan
from loadtest.scenarios.scenario import Amounts, Scenario, fill
from loadtest.scenarios.stages import arrive, hold, warm

_FULL: Final = Amounts(users=2_000, rate=12_000, seconds=20)
_SMOKE: Final = Amounts(users=300, rate=1_000, seconds=5)
_FACTOR: Final = 1.25
_SHARE_OF_TOP: Final = 1 / 24
"""Of the highest rate, where the ramp begins."""
_SMOKE_SHARE_OF_TOP: Final = 1 / 3


def _rates(begin: float, top: float) -> Iterator[float]:
    """Yield from `begin` to `top`, which is the last."""
    for step in itertools.count():
        rate = begin * _FACTOR**step
        if rate >= top:
            yield top
            return
        yield rate


def _plan(ask: Ask) -> Plan:
    much = fill(ask, _FULL, _SMOKE)
    begin = much.rate * (_SMOKE_SHARE_OF_TOP if ask.smoke else _SHARE_OF_TOP)
    steps = [round(rate) if rate >= 1 else rate for rate in _rates(begin, much.rate)]
    return Plan(
        scenario="ramp",
        kind=Kind.MESSAGING,
        stages=(
            arrive(much.users),
            warm(much.users, begin, much.seconds / 2),
            *(hold(much.users, rate, much.seconds, name=f"at-{rate:g}") for rate in steps),
        ),
        seats=much.users,
        ramp=True,
    )


RAMP: Final = Scenario(
    name="ramp",
    title="Ramp to the breaking point",
    shows="The highest rate that still holds, and what gives way first beyond it: latency, throughput or connections.",
    plan=_plan,
)
