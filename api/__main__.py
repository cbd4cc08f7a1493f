"""The program `python -m api`: reads the environment and the keys, opens the storage, serves, says when it is ready.

Nothing else in this room may know storage, files or signals.
"""

import json
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from typing import Final

import click
import trio

from api.app import create_app
from api.config import ApiConfig, ConfigError
from api.serving import serve_api
from api.world import Keys, World, make_world
from domain.ports import Mail, Stores, StoreUnavailable
from storage.cluster import ClusterError
from storage.config import ConfigError as StorageConfigError
from storage.config import StorageConfig
from storage.embedded import EmbeddedPostgresError
from storage.keys import ApiKeys, KeyFileError, make_keys, read_api_keys
from storage.mail import open_mail
from storage.mail.config import MailConfig
from storage.migrate import SchemaError
from storage.opening import open_storage

EXPECTED: Final = (
    *(ConfigError, StorageConfigError, KeyFileError, ClusterError, EmbeddedPostgresError),
    *(SchemaError, StoreUnavailable, OSError),
)
"""What a person can mend; anything else is a surprise and keeps its traceback."""
HELP: Final = """Run the REST API until SIGTERM or SIGINT, then finish what is under way.

It is told everything by the environment, and says in one line what is wrong with it:

\b
  VARDE_API_BIND       where it listens             [127.0.0.1:8400; port 0: a free one]
  VARDE_DATA           its folder                   [.varde]
  VARDE_DATABASE_URL   PostgreSQL 15 or newer       [the embedded one, in the folder]
  VARDE_RELAY_URL      where clients find the relay [ws://127.0.0.1:8401/v1/relay]
  VARDE_SMTP_URL       the mail server for codes    [none: console and outbox folder]
  VARDE_MAIL_FROM      the sender of those mails    [needed with VARDE_SMTP_URL]
  VARDE_API_PROXIES    load balancers in front      [0]
  VARDE_SIGN_IN_BURST  sign-ins one address may try [120, then one a second]
  VARDE_POOL_MIN, VARDE_POOL_MAX                    database connections

When it is ready it prints one line of JSON with its address. docs/configuration.md says more.
"""
LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"


@click.command(help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Serve until SIGTERM or SIGINT, then finish what is under way. Exits with 1 and one line when it cannot run."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=LOG_FORMAT)
    failed: list[str] = []
    try:
        trio.run(_run)
    except* EXPECTED as failures:
        failed.append(_first_words(failures))
    if failed:
        sys.exit(f"api: {failed[0]}")


async def _run() -> None:
    config, storage = ApiConfig.from_environ(os.environ), StorageConfig.from_environ(os.environ)
    mail = open_mail(MailConfig.from_environ(os.environ))
    folder = config.data / "keys"
    make_keys(folder)
    keys, stopping = read_api_keys(folder), trio.Event()
    # The signals first: who starts a server and stops it at once shall not find it deaf.
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery, open_storage(storage) as stores:
            nursery.start_soon(_stop_on_signal, signals, stopping)
            async with trio.open_nursery() as server:
                await _serve(server, _world(config, stores, mail, keys), stopping)
            nursery.cancel_scope.cancel()


async def _serve(server: trio.Nursery, world: World, stopping: trio.Event) -> None:
    async def serve(task_status: trio.TaskStatus[str]) -> None:
        await serve_api(world.config, create_app(world), stopping=stopping, task_status=task_status)

    address = await server.start(serve)
    sys.stdout.write(json.dumps({"ready": "api", "address": f"http://{address}"}) + "\n")
    sys.stdout.flush()


async def _stop_on_signal(signals: AsyncIterator[int], stopping: trio.Event) -> None:
    async for _ in signals:  # the second one finds the stop under way, which has a deadline of its own
        stopping.set()


def _world(config: ApiConfig, stores: Stores, mail: Mail, keys: ApiKeys) -> World:
    own = Keys(relay_public=keys.relay_public, ticket_private=keys.ticket_private, pepper=keys.pepper)
    return make_world(config, stores, mail, own, clock=lambda: time.time_ns() // 1_000_000, entropy=os.urandom)


def _first_words(failure: BaseException) -> str:
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return str(failure) or type(failure).__name__


if __name__ == "__main__":
    main()
