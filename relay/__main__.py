"""The program `python -m relay`: reads the environment and the keys, opens the storage, runs one node, says when it is
ready. Nothing else in this room may know storage, files or signals.
"""

import json
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from random import SystemRandom
from typing import Final

import click
import trio

from contract.noise import KeyPair
from domain.ports import StoreUnavailable
from relay.config import ConfigError, RelayConfig
from relay.node import run_node
from relay.services import Outside
from relay.upgrade import RELAY
from storage.cluster import ClusterError
from storage.config import ConfigError as StorageConfigError
from storage.config import StorageConfig
from storage.embedded import EmbeddedPostgresError
from storage.keys import KeyFileError, RelayKeys, make_keys, read_relay_keys
from storage.migrate import SchemaError
from storage.opening import open_storage

EXPECTED: Final = (
    *(ConfigError, StorageConfigError, KeyFileError, ClusterError, EmbeddedPostgresError),
    *(SchemaError, StoreUnavailable, OSError),
)
"""What a person can mend; anything else is a surprise and keeps its traceback."""
HELP: Final = """Run one relay node until SIGTERM or SIGINT, then drain it: clients are told, and have time to go.

It is told everything by the environment, and says in one line what is wrong with it:

\b
  VARDE_RELAY_BIND           where it listens        [127.0.0.1:8401; port 0: a free one]
  VARDE_DATA                 its folder              [.varde]
  VARDE_DATABASE_URL         PostgreSQL 15 or newer  [the embedded one, in the folder]
  VARDE_RELAY_CONNECTIONS    at the most             [15000]
  VARDE_RELAY_DRAIN_SECONDS  for clients to go       [20]
  VARDE_POOL_MIN, VARDE_POOL_MAX                     database connections

When it is ready it prints one line of JSON with its address. docs/configuration.md says more.
"""
LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"


@click.command(help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run a relay node until SIGTERM or SIGINT, then drain it. Exits with 1 and one line when it cannot run."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=LOG_FORMAT)
    failed: list[str] = []
    try:
        trio.run(_run)
    except* EXPECTED as failures:
        failed.append(_first_words(failures))
    if failed:
        sys.exit(f"relay: {failed[0]}")


async def _run() -> None:
    config, storage = RelayConfig.from_environ(os.environ), StorageConfig.from_environ(os.environ)
    folder = config.data / "keys"
    make_keys(folder)
    outside, stop = _outside(read_relay_keys(folder)), trio.Event()
    # The signals first: who starts a node and stops it at once shall not find it deaf.
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery, open_storage(storage) as stores:
            nursery.start_soon(_stop_on_signal, signals, stop)
            async with trio.open_nursery() as node:
                _say_ready(await node.start(run_node, config, stores, outside, stop))
            nursery.cancel_scope.cancel()


async def _stop_on_signal(signals: AsyncIterator[int], stop: trio.Event) -> None:
    async for _ in signals:  # the second one finds the drain under way, which has a deadline of its own
        stop.set()


def _outside(keys: RelayKeys) -> Outside:
    return Outside(
        static=KeyPair.from_private(keys.relay_private),
        ticket_public=keys.ticket_public,
        clock=lambda: time.time_ns() // 1_000_000,
        entropy=os.urandom,
        dice=SystemRandom(),
    )


def _say_ready(address: str) -> None:
    sys.stdout.write(json.dumps({"ready": "relay", "address": f"ws://{address}{RELAY}"}) + "\n")
    sys.stdout.flush()


def _first_words(failure: BaseException) -> str:
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return str(failure) or type(failure).__name__


if __name__ == "__main__":
    main()
