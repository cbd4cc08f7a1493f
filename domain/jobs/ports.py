"""The store of leases: it decides which worker does a job."""

from typing import NewType, Protocol
from uuid import UUID

WorkerId = NewType("WorkerId", UUID)
"""Random, made anew by every process: one that was started again is another worker."""


class LeaseStore(Protocol):
    """Leases by the name of a job. The store's own clock decides when one ends, so workers' clocks need not agree."""

    async def take(self, job: str, holder: WorkerId, lease_ms: int) -> bool:
        """Let the holder have the job for so long from now, or for so long again; False while somebody else has it.

        A lease that has ended is anybody's, its last holder's included. Raises StoreUnavailable.
        """

    async def release(self, job: str, holder: WorkerId) -> None:
        """End the lease now, if it is still this holder's. Raises StoreUnavailable."""
