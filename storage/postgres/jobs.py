"""Leases of jobs, in Postgres."""

from typing import Final

from domain.jobs.ports import WorkerId
from storage.database import Connection
from storage.postgres.transactions import Transactions


class PostgresLeases:
    """Keeps the promises of `domain.jobs.ports.LeaseStore`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def take(self, job: str, holder: WorkerId, lease_ms: int) -> bool:
        """Take or renew the lease of a job; False while another worker has it."""
        return await self._transactions.ask(_take, job, holder, lease_ms)

    async def release(self, job: str, holder: WorkerId) -> None:
        """End the lease, if it is still this holder's."""
        await self._transactions.ask(_release, job, holder)


# clock_timestamp() and not now(): who waited for another's row must see the time after the wait. The new end was
# computed before it, so at worst the lease is shorter than the worker believes by less than the worker's own call took,
# and a worker counts from the moment it asked.
_TAKE: Final = """
    INSERT INTO job_lease AS lease (job, holder, expires_ms)
    VALUES ($1, $2, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + $3)
    ON CONFLICT (job) DO UPDATE SET holder = excluded.holder, expires_ms = excluded.expires_ms
    WHERE lease.holder = excluded.holder OR lease.expires_ms <= extract(epoch FROM clock_timestamp()) * 1000
    RETURNING true
"""


async def _take(connection: Connection, job: str, holder: WorkerId, lease_ms: int) -> bool:
    return await connection.fetchval(_TAKE, job, holder, lease_ms) is not None


_RELEASE: Final = "DELETE FROM job_lease WHERE job = $1 AND holder = $2"


async def _release(connection: Connection, job: str, holder: WorkerId) -> None:
    await connection.execute(_RELEASE, job, holder)
