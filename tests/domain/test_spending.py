"""Budgets over several processes: together they give an account what it has, and what was too much is paid back."""

import pytest

from domain.budgets import Allowance, Budget, Budgets, TokenBuckets
from domain.ports import Spent
from domain.spending import SharedBuckets, share, share_spending, shared_budgets
from simulation.stores import open_memory_stores
from simulation.stores.clock import ManualClock
from simulation.stores.interference import Interference
from simulation.stores.memory import Memory
from tests.cast import alice, bob

SECOND = 1_000
BURST = 160.0


class Fleet:
    """Processes with one store. Of the budget there are 160 at once, and one a second."""

    def __init__(self, count: int) -> None:
        self.clock, self.interference = ManualClock(), Interference()
        self.memory = Memory(clock=self.clock)
        self.store = open_memory_stores(memory=self.memory, interference=self.interference).spending
        allowance = {Budget.CLAIMS: Allowance(BURST, 1, "Too much.")}
        self.processes = [Budgets(clock=self.clock, allowances=allowance) for _ in range(count)]
        self.shared = [shared_budgets(each) for each in self.processes]

    def spend_all(self, process: int, account: object = alice.account) -> int:
        """Take one by one until no more is given; return how many."""
        given = 0
        while self.processes[process].spend(account, Budget.CLAIMS) is None:  # type: ignore[arg-type]
            given += 1
        return given

    async def report(self) -> None:
        """Let a second pass, and every process report; twice, so that the first hears of the last."""
        for _ in range(2):
            for shared in self.shared:
                await share_spending(self.store, shared)


async def test_what_one_gave_the_others_do_not_give_again() -> None:
    """Once they have given a chunk themselves, and heard."""
    fleet = Fleet(2)
    assert fleet.spend_all(0) == BURST
    for _ in range(20):
        assert fleet.processes[1].spend(alice.account, Budget.CLAIMS) is None
    await fleet.report()
    assert fleet.spend_all(0) == fleet.spend_all(1) == 0
    assert fleet.spend_all(1, bob.account) == BURST


async def test_what_was_too_much_is_paid_back() -> None:
    """All at once give more than one budget; nothing is given before the sum of it has refilled."""
    fleet = Fleet(3)
    assert sum(fleet.spend_all(each) for each in range(3)) == 3 * BURST
    await fleet.report()
    for _ in range(int(2 * BURST)):
        fleet.clock.advance(SECOND)
        assert [fleet.spend_all(each) for each in range(3)] == [0, 0, 0]
    fleet.clock.advance(20 * SECOND)
    await fleet.report()
    assert fleet.spend_all(0) == 20


async def test_in_the_long_run_they_give_what_one_would() -> None:
    """Whoever takes all there is of three processes has the budget, and what they gave before they heard."""
    fleet, given = Fleet(3), 0
    for _ in range(1_000):
        given += sum(fleet.spend_all(each) for each in range(3))
        await fleet.report()
        fleet.clock.advance(SECOND)
    assert given <= 3 * BURST + 1_000 + 3 * BURST / 16


async def test_who_spends_little_is_not_reported() -> None:
    """Nor who spent much long ago: what a full bucket gave is nobody's concern."""
    fleet = Fleet(1)
    for _ in range(40):
        for _ in range(8):
            assert fleet.processes[0].spend(alice.account, Budget.CLAIMS) is None
        await fleet.report()
        fleet.clock.advance(int(BURST) * SECOND)
    assert not fleet.memory.spending


async def test_without_a_store_each_counts_for_itself() -> None:
    """And goes on when it is back."""
    fleet = Fleet(2)
    fleet.interference.unavailable = True
    assert fleet.spend_all(0) == BURST
    await share_spending(fleet.store, fleet.shared[0])
    fleet.interference.unavailable = False
    assert fleet.spend_all(1) == BURST
    await fleet.report()
    assert fleet.spend_all(1) == 0


@pytest.mark.parametrize("crowd", [5, 30])
async def test_what_is_forgotten_is_not_reported(crowd: int) -> None:
    """A sweep of buckets that are full again takes what was to be reported with it."""
    clock, store = ManualClock(), Fleet(1).store
    buckets: TokenBuckets[str] = TokenBuckets(Allowance(1, 1, "Too many."), clock=clock, capacity=10)
    shared: SharedBuckets = share("sign-in", buckets, str.encode)
    for number in range(crowd):
        buckets.spend(f"old {number}")
    clock.advance(60 * SECOND)
    for number in range(crowd):
        buckets.spend(f"new {number}")
    await share_spending(store, [shared])
    assert await store.add([Spent(shared.key("new 0"), 5.0)]) == [SECOND + 5.0]
