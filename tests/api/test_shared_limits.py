"""What one API process gave, another does not give again: limits that hold across processes."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from api.__main__ import _run_shared_budgets
from api.services import LOOK_UPS, Services, make_services
from domain.budgets import ALLOWANCES, Budget, Budgets
from domain.ports import Stores
from domain.spending import PERIOD
from settings.api import ApiSettings
from simulation.stores import open_memory_stores
from simulation.stores.clock import DeterministicEntropy, ManualClock
from simulation.stores.mail import RecordingMail
from simulation.stores.memory import Memory
from tests.api.memory_api import KEYS
from tests.cast import alice

NETWORK = "192.0.2.0"
BURST = 160


def make_process(stores: Stores, clock: ManualClock) -> Services:
    """The services of one API process."""
    config, budgets = ApiSettings(sign_in_burst=BURST), Budgets(clock=clock)
    return make_services(config, stores, RecordingMail(), KEYS, budgets, clock=clock, entropy=DeterministicEntropy())


async def test_sign_in_limits_and_budgets_hold_across_processes(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Who signed in, and who asked, as much as may be at one is known for it at the other."""
    clock = ManualClock()
    stores = open_memory_stores(memory=Memory(clock=clock))
    one, other = (make_process(stores, clock) for _ in range(2))
    for services in one, other:
        nursery.start_soon(_run_shared_budgets, services, stores, KEYS.pepper)
    await wait_all_tasks_blocked()
    requests = ALLOWANCES[Budget.REQUESTS].burst
    for services, part in (one, 1), (other, 1 / 8):
        assert services.sign_in_limit.spend(NETWORK, BURST * part) is None
        assert services.look_up_limit.spend(NETWORK, LOOK_UPS.burst * part) is None
        assert services.budgets.spend(alice.account, Budget.REQUESTS, requests * part) is None
    await trio.sleep(2 * PERIOD + 0.5)  # in time that jumps: each has told, and heard
    assert other.sign_in_limit.spend(NETWORK) is not None
    assert other.look_up_limit.spend(NETWORK) is not None
    assert other.budgets.spend(alice.account, Budget.REQUESTS) is not None
