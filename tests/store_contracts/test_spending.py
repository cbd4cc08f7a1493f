"""The contract of what all processes have given of budgets: it adds up, and nobody waits in a circle."""

import trio

from domain.ports import Spent, Stores

ONE, TWO, THREE = (bytes([each]) * 32 for each in range(3))
HOUR = 3_600_000.0
SLACK = 60_000.0  # a slow machine may take that long between two calls


async def test_spending_adds_up(nodes: tuple[Stores, Stores]) -> None:
    """By key, over all processes; and an answer for each, in the order of the question."""
    first, second = nodes
    (left,) = await first.spending.add([Spent(ONE, HOUR)])
    assert left == HOUR
    other, both = await second.spending.add([Spent(THREE, 2 * HOUR), Spent(ONE, HOUR)])
    assert other == 2 * HOUR
    assert 2 * HOUR - SLACK <= both <= 2 * HOUR
    assert await first.spending.add([Spent(TWO, 7.0)]) == [7.0]


async def test_reports_at_once_are_all_counted(nodes: tuple[Stores, Stores]) -> None:
    """Whatever the order of their keys."""
    spent = [Spent(key, HOUR) for key in (ONE, TWO)]

    async def report(stores: Stores, given: list[Spent]) -> None:
        for _ in range(5):
            await stores.spending.add(given)

    async with trio.open_nursery() as nursery:
        for stores in nodes:
            nursery.start_soon(report, stores, spent)
            nursery.start_soon(report, stores, spent[::-1])
    for left in await nodes[0].spending.add(spent):
        assert 21 * HOUR - SLACK <= left <= 21 * HOUR
