"""The contract of leases: a job is one worker's at a time, and free again when that one has died or given it back."""

import trio

from domain.jobs.ports import WorkerId
from domain.ports import Stores
from tests.ids import id_of

ONE, OTHER = WorkerId(id_of(1)), WorkerId(id_of(2))
LONG_MS = 3_600_000
ENDED_MS = 0
"""A lease that has ended as soon as it is taken: by the time the next call is answered, its holder has died."""


async def test_a_job_is_one_workers(nodes: tuple[Stores, Stores]) -> None:
    """While it has the lease no other worker gets it, on whatever node it asks; another job is another matter."""
    assert await nodes[0].leases.take("retention", ONE, LONG_MS)
    assert not await nodes[1].leases.take("retention", OTHER, LONG_MS)
    assert not await nodes[0].leases.take("retention", OTHER, ENDED_MS)
    assert await nodes[1].leases.take("push", OTHER, LONG_MS)


async def test_a_lease_is_renewed_by_its_holder(stores: Stores) -> None:
    """For another such time from now, however long it had; also when it has just ended and nobody else wanted it."""
    assert await stores.leases.take("retention", ONE, ENDED_MS)
    assert await stores.leases.take("retention", ONE, LONG_MS)
    assert not await stores.leases.take("retention", OTHER, LONG_MS)
    assert await stores.leases.take("retention", ONE, ENDED_MS)
    assert await stores.leases.take("retention", OTHER, LONG_MS)


async def test_a_lease_that_has_ended_is_anybodys(stores: Stores) -> None:
    """The job of a worker that died is taken up, and the dead one, should it live after all, is told so."""
    assert await stores.leases.take("retention", ONE, ENDED_MS)
    assert await stores.leases.take("retention", OTHER, LONG_MS)
    assert not await stores.leases.take("retention", ONE, LONG_MS)


async def test_a_lease_is_given_back(stores: Stores) -> None:
    """Then nobody waits for its end; whose lease it is not gives nothing back."""
    assert await stores.leases.take("retention", ONE, LONG_MS)
    await stores.leases.release("retention", OTHER)
    assert not await stores.leases.take("retention", OTHER, LONG_MS)
    await stores.leases.release("retention", ONE)
    assert await stores.leases.take("retention", OTHER, LONG_MS)
    await stores.leases.release("nothing", ONE)


async def test_of_many_that_ask_at_once_one_gets_it(nodes: tuple[Stores, Stores]) -> None:
    """Also when they take up the job of a worker that died."""
    assert await nodes[0].leases.take("push", WorkerId(id_of(99)), ENDED_MS)
    for job in ("retention", "push"):
        taken: list[int] = []

        async def ask(stores: Stores, number: int, job: str = job, taken: list[int] = taken) -> None:
            if await stores.leases.take(job, WorkerId(id_of(number)), LONG_MS):
                taken.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(ask, nodes[number % 2], number)
        assert len(taken) == 1
