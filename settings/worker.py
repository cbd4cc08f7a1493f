"""Settings of a worker: the lease of its jobs, and the pause between sweeps."""

from collections.abc import Mapping
from dataclasses import dataclass

from settings.environment import SECONDS, read_number


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """One worker. Times are seconds."""

    lease: float = 30 * SECONDS
    """How long a job stays with a worker that says nothing: so long after a crash another takes it up. It is renewed
    three times in that time, a query each, and an outage of the database that is shorter does not stop the job."""
    release: float = 2 * SECONDS
    """For giving a lease back at the end. Without an answer it ends by itself."""
    sweep_pause: float = 60 * SECONDS
    """Between two sweeps. What is kept for thirty days may stay for another minute."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "WorkerSettings":
        """Read `VARDE_WORKER_LEASE_SECONDS`.

        Raises:
            ConfigError: naming the variable.
        """
        default = cls()
        return cls(lease=float(read_number(environ, "VARDE_WORKER_LEASE_SECONDS", int(default.lease), least=1)))
