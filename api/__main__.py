"""The program `python -m api`: reads the environment and the keys, and serves over the storage."""

import os
from dataclasses import replace
from functools import partial
from typing import Final, NoReturn

import click
import trio

from api.app import create_app
from api.http.serving import serve_api
from api.metrics.exposition import start_api_metrics
from api.services import Keys, Services, make_services
from domain.budgets import Budgets
from domain.people.addresses import network_key
from domain.ports import Stores
from domain.spending import PERIOD, share, share_spending, shared_budgets
from settings.api import ApiSettings
from settings.environment import command_from_environ
from settings.mail import LOOPBACK, MailFolder, MailSettings
from settings.storage import StorageSettings
from storage.keys import ApiKeys, make_keys, read_api_keys
from storage.mail import open_mail
from storage.program import Serve, read_clock, read_monotonic_clock, run_program, user_of
from tls.certificate import TlsCertificate, watch_certificates

HELP: Final = """Run the REST API until SIGTERM or SIGINT, then finish what is under way.

It is told everything by the environment, and says in one line what is wrong with it:

\b
  VARDE_API_BIND       where it listens             [127.0.0.1:8400; port 0: a free one]
  VARDE_DATA           its folder                   [.varde]
  VARDE_DATABASE_URL   PostgreSQL 15 or newer       [the embedded one, in the folder]
  VARDE_REPLICA_URL    a standby, for the log's tiles [none: all at the primary]
  VARDE_RELAY_URL      where clients find the relay [ws://127.0.0.1:8401/v1/relay;
                       the host *: by the name that they asked the API by]
  VARDE_API_TLS_CERTIFICATE, VARDE_API_TLS_KEY      [none: TLS ends in front of it]
  VARDE_API_TLS_CLIENT_CA  who may connect          [everybody; the balancer alone]
  VARDE_SMTP_URL       the mail server for codes    [none: console and outbox folder]
  VARDE_MAIL_FROM      the sender of those mails    [needed with VARDE_SMTP_URL]
  VARDE_API_ORIGINS    web pages that may call it    [none; https://chat.example.org ...]
  VARDE_API_PROXIES    load balancers in front      [0]
  VARDE_API_METRICS_BIND  where Prometheus may ask   [nowhere; such as 127.0.0.1:9400]
  VARDE_METRICS_TLS_CERTIFICATE, VARDE_METRICS_TLS_KEY, VARDE_METRICS_TLS_CLIENT_CA
                       with TLS of both sides       [none: in plain text]
  VARDE_SIGN_IN_BURST  sign-ins one address may try [120, then one a second]
  VARDE_LOG_FORMAT, VARDE_OTLP_URL, VARDE_OTLP_ONE_IN, VARDE_SENTRY_DSN
                             logs, traces, reports [text on stderr; none]
  VARDE_BUS_URL        redis://, rediss://, redis+cluster:// [LISTEN/NOTIFY]
  VARDE_POOL_MIN, VARDE_POOL_MAX                    database connections

When it is ready it prints one line of JSON with its address. docs/configuration.md says more.
"""


@click.command(help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Serve until SIGTERM or SIGINT, then finish what is under way. Exits with 1 and one line when it cannot run."""
    run_program("api", _prepare)


def _prepare() -> tuple[str, Serve]:
    config = ApiSettings.from_environ(os.environ)
    mail = open_mail(_mail_settings(config))
    folder = config.data / "keys"
    make_keys(folder)
    keys = _own(read_api_keys(folder))
    certificate = None if config.metrics_tls is None else TlsCertificate(config.metrics_tls, read_clock)
    own = None if config.tls is None else TlsCertificate(config.tls, read_clock)

    async def serve(
        stores: Stores, stop: trio.Event, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
    ) -> None:
        services = make_services(
            config, stores, mail, keys, Budgets(clock=read_monotonic_clock), clock=read_clock, entropy=os.urandom
        )
        app = create_app(services)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_certificates, [each for each in (certificate, own) if each is not None])
            await start_api_metrics(services, nursery, None if certificate is None else certificate.make_context)
            nursery.start_soon(_run_shared_budgets, services, stores, keys.pepper)
            tls = None if own is None else own.make_context
            await serve_api(config, app, services.metrics, stopping=stop, tls=tls, task_status=task_status)
            nursery.cancel_scope.cancel()

    return f"{'http' if own is None else 'https'}://{{}}", serve


async def _run_shared_budgets(services: Services, stores: Stores, pepper: bytes) -> NoReturn:
    """Let budgets hold over all nodes and APIs, and limits of networks over all APIs."""
    networks = {"sign-in": services.sign_in_limit, "look-ups of a network": services.look_up_limit}
    shared = shared_budgets(services.budgets)
    shared += [share(name, buckets, partial(network_key, pepper)) for name, buckets in networks.items()]
    while True:
        await trio.sleep(PERIOD)
        await share_spending(stores.spending, shared)


def _mail_settings(config: ApiSettings) -> MailSettings:
    settings = MailSettings.from_environ(os.environ)
    if not isinstance(settings.route, MailFolder):
        return settings
    folder, user = settings.route.folder, user_of("api", StorageSettings.from_environ(os.environ).database)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Made by root where the program begins as root, and written by the user that it becomes.
    user.give(folder)
    return replace(settings, route=MailFolder(folder, show_codes=config.host in LOOPBACK))


def _own(keys: ApiKeys) -> Keys:
    return Keys(
        relay_public=keys.relay_public,
        relay_kem_public=keys.relay_kem_public,
        ticket_private=keys.ticket_private,
        pepper=keys.pepper,
        other_peppers=keys.other_peppers,
    )


if __name__ == "__main__":
    main(prog_name=command_from_environ(os.environ))
