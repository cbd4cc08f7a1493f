"""The program `python -m relay`: reads the environment and the keys, and runs one node over the storage.

Nothing else in this room may know storage or files.
"""

import os
from random import SystemRandom
from typing import Final

import click
import trio

from contract.noise import KeyPair
from domain.ports import Stores
from relay.config import ConfigError, RelayConfig
from relay.node import run_node
from relay.services import Outside
from relay.upgrade import RELAY
from storage.keys import RelayKeys, make_keys, read_relay_keys
from storage.program import Serve, read_clock, run_program

HELP: Final = """Run one relay node until SIGTERM or SIGINT, then drain it: clients are told, and have time to go.

It is told everything by the environment, and says in one line what is wrong with it:

\b
  VARDE_RELAY_BIND           where it listens        [127.0.0.1:8401; port 0: a free one]
  VARDE_DATA                 its folder              [.varde]
  VARDE_DATABASE_URL         PostgreSQL 15 or newer  [the embedded one, in the folder]
  VARDE_RELAY_CONNECTIONS    at the most             [15000]
  VARDE_RELAY_PROXIES        load balancers in front [0]
  VARDE_RELAY_DRAIN_SECONDS  for clients to go       [20]
  VARDE_POOL_MIN, VARDE_POOL_MAX                     database connections

When it is ready it prints one line of JSON with its address. docs/configuration.md says more.
"""


@click.command(help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run a relay node until SIGTERM or SIGINT, then drain it. Exits with 1 and one line when it cannot run."""
    run_program("relay", f"ws://{{}}{RELAY}", _prepare, ConfigError)


def _prepare() -> Serve:
    config = RelayConfig.from_environ(os.environ)
    folder = config.data / "keys"
    make_keys(folder)
    outside = _outside(read_relay_keys(folder))

    async def serve(
        stores: Stores, stop: trio.Event, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
    ) -> None:
        await run_node(config, stores, outside, stop, task_status)

    return serve


def _outside(keys: RelayKeys) -> Outside:
    return Outside(
        static=KeyPair.from_private(keys.relay_private),
        ticket_public=keys.ticket_public,
        clock=read_clock,
        entropy=os.urandom,
        dice=SystemRandom(),
    )


if __name__ == "__main__":
    main()
