"""Settings of a worker: the lease of its jobs, the pause between sweeps, and its transparency log."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from settings.environment import DATA, SECONDS, ConfigError, read_bind, read_data, read_number
from settings.tls import TlsFiles, read_metrics_tls
from varde_contract.transparency.checkpoint import ORIGIN_BYTES
from varde_contract.transparency.note import is_key_name


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
    metrics_bind: tuple[str, int] | None = None
    """Where Prometheus may ask; None for nowhere. Whoever can connect there can read it."""
    metrics_tls: TlsFiles | None = None
    """For Prometheus alone, which then needs a certificate too; None: in plain text."""

    # The transparency log.
    data: Path = Path(DATA)
    log_origin: str | None = None
    """The name of the log; None: it is named after its key. It is read when the key is made, and then never again."""
    log_policy: Path | None = None
    """A policy file (C2SP tlog-policy) that names witnesses with their URLs; None: nobody is asked to cosign."""
    checkpoint_pause: float = 1 * SECONDS
    """Between two checkpoints: a changed list can be proven after so long, and a client's wait is the longest part."""
    witness_pause: float = 60 * SECONDS
    """Between two rounds of witnesses: the cadence that public ones take."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "WorkerSettings":
        """Read `VARDE_WORKER_LEASE_SECONDS`, and what else `--help` names.

        Raises:
            ConfigError: naming the variable.
        """
        default = cls()
        policy = environ.get("VARDE_LOG_POLICY")
        return cls(
            lease=float(read_number(environ, "VARDE_WORKER_LEASE_SECONDS", int(default.lease), least=1)),
            metrics_bind=read_bind(environ, "VARDE_WORKER_METRICS_BIND"),
            metrics_tls=read_metrics_tls(environ),
            data=read_data(environ),
            log_origin=_origin(environ.get("VARDE_LOG_ORIGIN")),
            log_policy=Path(policy) if policy else None,
        )


def _origin(text: str | None) -> str | None:
    if text and not (is_key_name(text) and len(text.encode()) <= ORIGIN_BYTES):
        raise ConfigError("VARDE_LOG_ORIGIN must be like a URL without its scheme, without spaces or plus signs")
    return text or None
