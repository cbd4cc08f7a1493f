"""The program `python -m worker`: reads the environment, and runs one worker over the storage."""

import os
from pathlib import Path
from typing import Final
from uuid import uuid4

import click
import trio

from domain.jobs.ports import WorkerId
from domain.ports import Stores
from settings.environment import ConfigError, command_from_environ
from settings.worker import WorkerSettings
from storage.log_key import LogKey
from storage.program import Serve, read_clock, run_program
from tls.certificate import TlsCertificate, watch_certificates
from varde_contract.errors import PeerFault
from varde_contract.transparency.policy import Policy, parse_policy
from worker.checkpoints import Checkpoints
from worker.metrics import WorkerMetrics, start_worker_metrics
from worker.run import JOBS, Job, run_worker

HELP: Final = """Run one worker until SIGTERM or SIGINT: it does the jobs that nobody waits for.

Run as many as you like. Each job is done by one of them at a time, and by another when that one has died.

It is told everything by the environment, and says in one line what is wrong with it:

\b
  VARDE_DATA                  the servers' folder    [.varde]
  VARDE_DATABASE_URL          PostgreSQL 15 or newer [the embedded one, in the folder]
  VARDE_REPLICA_URL           a standby              [none; the API alone reads there]
  VARDE_WORKER_LEASE_SECONDS  until another takes up the jobs of one that died [30]
  VARDE_WORKER_METRICS_BIND   where Prometheus may ask [nowhere]
  VARDE_METRICS_TLS_CERTIFICATE, VARDE_METRICS_TLS_KEY, VARDE_METRICS_TLS_CLIENT_CA
                              with TLS of both sides [none: in plain text]
  VARDE_LOG_ORIGIN            the name of a transparency log that is made now [of its key]
  VARDE_LOG_POLICY            a tlog-policy file with witnesses to ask [none]
  VARDE_LOG_FORMAT, VARDE_OTLP_URL, VARDE_OTLP_ONE_IN, VARDE_SENTRY_DSN
                             logs, traces, reports [text on stderr; none]
  VARDE_BUS_URL                                    redis://, rediss://, redis+cluster:// [LISTEN/NOTIFY]
  VARDE_POOL_MIN, VARDE_POOL_MAX                     database connections

When it is ready it prints one line of JSON with its id. docs/configuration.md says more.
"""


@click.command(help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run a worker until SIGTERM or SIGINT, then give its jobs back. Exits with 1 and one line when it cannot run."""
    run_program("worker", _prepare)


def _prepare() -> tuple[str, Serve]:
    settings = WorkerSettings.from_environ(os.environ)
    key, policy = LogKey(settings.data / "log", settings.log_origin), _read_policy(settings.log_policy)
    checkpoints = Checkpoints(key, policy)
    certificate = None if settings.metrics_tls is None else TlsCertificate(settings.metrics_tls, read_clock)

    async def serve(
        stores: Stores, stop: trio.Event, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
    ) -> None:
        jobs = (*JOBS, Job("checkpoints", checkpoints.run))
        async with trio.open_nursery() as nursery:
            # A new id with each start: two processes with one id, an old one that stands still among them, would both
            # hold a lease.
            metrics, worker = WorkerMetrics(), WorkerId(uuid4())
            tls = None if certificate is None else certificate.make_context
            nursery.start_soon(watch_certificates, [] if certificate is None else [certificate])
            await start_worker_metrics(settings.metrics_bind, metrics, stores, read_clock, nursery, tls)
            await run_worker(settings, stores, read_clock, worker, stop, jobs, metrics, task_status=task_status)
            nursery.cancel_scope.cancel()

    return "{}", serve


def _read_policy(path: Path | None) -> Policy | None:
    try:
        return None if path is None else parse_policy(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, PeerFault) as fault:
        raise ConfigError(f"VARDE_LOG_POLICY: {fault}") from None


if __name__ == "__main__":
    main(prog_name=command_from_environ(os.environ))
