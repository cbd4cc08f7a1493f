"""The program `python -m relay`: reads the environment and the keys, and runs one node over the storage.

No other file of this room imports storage or reads files.
"""

import os
from importlib.metadata import version
from random import SystemRandom
from typing import Final

import click
import trio

from domain.ports import Stores
from relay.node import run_node
from relay.services import Dependencies
from relay.socket.upgrade_request import RELAY
from settings.environment import command_from_environ
from settings.relay import RelaySettings
from storage.keys import RelayKeys, make_keys, read_relay_keys
from storage.program import Serve, read_clock, read_monotonic_clock, run_program
from tls.certificate import TlsCertificate
from varde_contract.kem import MlKemKeyPair
from varde_contract.noise import KeyPair

HELP: Final = """Run one relay node until SIGTERM or SIGINT. Then drain it: clients are asked to go, in good order.

All settings come from the environment. A wrong one is reported in one line.

\b
  VARDE_RELAY_BIND           where it listens        [127.0.0.1:8401; port 0: a free one]
  VARDE_RELAY_NAME           what operators call it  [relay; each start adds something]
  VARDE_RELAY_REUSE_PORT     1: others may listen there too [0]
  VARDE_RELAY_METRICS_BIND   where Prometheus asks   [nowhere; such as 127.0.0.1:9401]
  VARDE_METRICS_TLS_CERTIFICATE, VARDE_METRICS_TLS_KEY, VARDE_METRICS_TLS_CLIENT_CA
                             with TLS of both sides  [none: in plain text]
  VARDE_DATA                 its folder              [.varde]
  VARDE_DATABASE_URL         PostgreSQL 15 or newer  [the embedded one, in the folder]
  VARDE_REPLICA_URL          a standby              [none; the API alone reads there]
  VARDE_RELAY_CONNECTIONS    at the most             [15000]
  VARDE_RELAY_PROXIES        load balancers in front [0]
  VARDE_RELAY_PROXY_PROTOCOL balancers that send it  [none; 192.0.2.7 10.0.0.0/8 ...]
  VARDE_RELAY_DRAIN_SECONDS  for clients to go       [20]
  VARDE_RELAY_TLS_CERTIFICATE, VARDE_RELAY_TLS_KEY   [none: TLS ends in front of it]
  VARDE_RELAY_TLS_CLIENT_CA  who may connect         [everybody; the balancer alone]
                             PEM files, read again when they change and at SIGHUP
  VARDE_LOG_FORMAT, VARDE_OTLP_URL, VARDE_OTLP_ONE_IN, VARDE_SENTRY_DSN
                             logs, traces, reports [text on stderr; none]
  VARDE_BUS_URL              redis://, redis+cluster:// and the like [LISTEN/NOTIFY]
  VARDE_POOL_MIN, VARDE_POOL_MAX                     database connections

When it is ready it prints one line of JSON with its address. docs/configuration.md says more.
"""


@click.command(help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run a relay node until SIGTERM or SIGINT, then drain it. Exits with 1 and one line when it cannot run."""
    run_program("relay", _prepare)


def _prepare() -> tuple[str, Serve]:
    settings = RelaySettings.from_environ(os.environ)
    folder = settings.data / "keys"
    make_keys(folder)
    certificate = None if settings.tls is None else TlsCertificate(settings.tls, read_clock)
    metrics_certificate = None if settings.metrics_tls is None else TlsCertificate(settings.metrics_tls, read_clock)
    dependencies = _dependencies(read_relay_keys(folder), certificate, metrics_certificate)

    async def serve(
        stores: Stores, stop: trio.Event, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
    ) -> None:
        await run_node(settings, stores, dependencies, stop, task_status)

    return f"{'ws' if certificate is None else 'wss'}://{{}}{RELAY}", serve


def _dependencies(
    keys: RelayKeys, certificate: TlsCertificate | None, metrics_certificate: TlsCertificate | None
) -> Dependencies:
    return Dependencies(
        static=KeyPair.from_private(keys.relay_private),
        kem=MlKemKeyPair(keys.relay_kem_private),
        ticket_publics=keys.ticket_publics,
        other_keys=[(KeyPair.from_private(static), MlKemKeyPair(kem)) for static, kem in keys.other_privates],
        clock=read_clock,
        monotonic_clock=read_monotonic_clock,
        entropy=os.urandom,
        random=SystemRandom(),
        certificate=certificate,
        metrics_certificate=metrics_certificate,
        version=version("varde-server"),
    )


if __name__ == "__main__":
    main(prog_name=command_from_environ(os.environ))
