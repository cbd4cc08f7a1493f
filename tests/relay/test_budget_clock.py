"""What happens to budgets when the wall clock of a machine is set back."""

from random import Random

from domain.budgets import Allowance, Budget
from relay.services import Dependencies, make_services
from settings.relay import RelaySettings
from simulation.stores.clock import HOUR, SECOND, ManualClock
from tests.cast import alice
from tests.relay.memory_node import RELAY_KEY, TICKET_KEY, make_backend


async def test_a_clock_that_is_set_back_refuses_nobody() -> None:
    """It refused everybody for as long as it was set back."""
    backend, steady = make_backend(), ManualClock()
    dependencies = Dependencies(
        static=RELAY_KEY,
        ticket_publics=[TICKET_KEY.public_key().public_bytes_raw()],
        clock=backend.clock,
        monotonic_clock=steady,
        entropy=backend.entropy,
        random=Random(1),  # noqa: S311 - it spreads load
        allowances={Budget.REQUESTS: Allowance(1, 1, "Too many.")},
    )
    budgets = make_services(RelaySettings(), backend.stores, dependencies).budgets
    assert budgets.spend(alice.account, Budget.REQUESTS) is None
    assert budgets.spend(alice.account, Budget.REQUESTS) is not None
    backend.clock.advance(-HOUR)
    steady.advance(SECOND)
    assert budgets.spend(alice.account, Budget.REQUESTS) is None
