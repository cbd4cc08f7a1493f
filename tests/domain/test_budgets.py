"""Budgets: bursts are let through, floods are not, one account does not use up another's, and memory stays bounded."""

import re
from collections import Counter
from pathlib import Path

import pytest

from domain.budgets import ALLOWANCES, Allowance, Budget, Budgets, TokenBuckets
from simulation.stores.clock import SECOND, ManualClock
from tests.cast import alice, bob
from varde_contract.refusals import RefusalCode

HERE = "192.0.2.1"
LIMITS = Path(__file__).parents[2] / "docs" / "limits.md"


def spend(buckets: TokenBuckets[str], count: int, address: str = HERE) -> int:
    """Return how many of these were let through."""
    return sum(buckets.spend(address) is None for _ in range(count))


def test_a_burst_is_let_through_and_then_one_for_each_refill() -> None:
    """An office behind one address signs in together; a machine that tries for ever gets one a second."""
    clock = ManualClock()
    buckets: TokenBuckets[str] = TokenBuckets(Allowance(5, 1, "Too many."), clock=clock)
    assert spend(buckets, 20) == 5
    clock.advance(2 * SECOND)
    assert spend(buckets, 20) == 2
    clock.advance(3_600 * SECOND)
    assert spend(buckets, 20) == 5


def test_refusal_rate_limited_says_when_to_come_back() -> None:
    """Who waits as told is let through, and who waits a little less is not."""
    clock = ManualClock()
    buckets: TokenBuckets[str] = TokenBuckets(Allowance(3, 1 / 2, "Too many."), clock=clock)
    spend(buckets, 3)
    refused = buckets.spend(HERE)
    assert refused is not None
    assert refused.code is RefusalCode.RATE_LIMITED
    assert refused.retry_after_ms is not None
    clock.advance(refused.retry_after_ms - 2)
    assert buckets.spend(HERE) is not None
    clock.advance(2)
    assert buckets.spend(HERE) is None


def test_one_address_does_not_use_up_anothers() -> None:
    """A flood from one place keeps nobody else out."""
    buckets: TokenBuckets[str] = TokenBuckets(Allowance(2, 1, "Too many."), clock=ManualClock())
    spend(buckets, 10)
    assert spend(buckets, 2, "192.0.2.2") == 2


def test_no_number_of_addresses_fills_the_memory_or_frees_who_is_limited() -> None:
    """The table is bounded. A crowd of fresh addresses shares one bucket, and washes nobody out of the table."""
    clock = ManualClock()
    buckets: TokenBuckets[str] = TokenBuckets(Allowance(1, 1, "Too many."), clock=clock, capacity=100)
    assert spend(buckets, 2) == 1
    let_through = sum(buckets.spend(f"10.0.{number // 256}.{number % 256}") is None for number in range(1_000))
    assert len(buckets) == 100
    assert let_through == 100  # 99 with a bucket each, and one of all the others
    assert buckets.spend(HERE) is not None


def test_a_bucket_that_is_full_again_makes_room() -> None:
    """After the crowd has gone, addresses have buckets of their own again."""
    clock = ManualClock()
    buckets: TokenBuckets[str] = TokenBuckets(Allowance(1, 1, "Too many."), clock=clock, capacity=10)
    for number in range(20):
        buckets.spend(f"10.0.0.{number}")
    clock.advance(2 * SECOND)
    assert all(buckets.spend(f"10.0.1.{number}") is None for number in range(10))


def test_the_documented_figures_are_these() -> None:
    """docs/limits.md has a row for each budget, with its figures."""
    rows = re.findall(r"^\| `([a-z-]+)` \| ([\d.]+) \| ([\d.]+) \|", LIMITS.read_text(), re.MULTILINE)
    documented = [(name, float(burst), float(rate)) for name, burst, rate in rows]
    assert documented == [(str(budget), each.burst, round(each.per_second, 1)) for budget, each in ALLOWANCES.items()]


@pytest.mark.parametrize("budget", Budget)
def test_every_budget_of_an_account_ends_and_is_its_own(budget: Budget) -> None:
    """Each budget has an allowance, ends for the account that spends it, and says when there is more."""
    budgets = Budgets(clock=ManualClock())
    assert budgets.spend(alice.account, budget, ALLOWANCES[budget].burst) is None
    refused = budgets.spend(alice.account, budget)
    assert refused is not None
    assert refused.code is RefusalCode.RATE_LIMITED
    assert refused.retry_after_ms is not None
    assert budgets.refused == Counter({budget: 1})
    assert budgets.spend(bob.account, budget) is None


def test_a_message_is_counted_by_what_others_must_do() -> None:
    """A few messages to very many devices are as much as many messages to one."""
    budgets = Budgets(clock=ManualClock(), allowances={Budget.DELIVERIES: Allowance(2_000, 1, "Too many.")})
    assert budgets.spend_send(alice.account, 1, 1_024) is None
    assert budgets.spend_send(alice.account, 1, 1_024) is not None
    assert budgets.spend_send(alice.account, 1, 900) is None
