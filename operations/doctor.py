"""`varde doctor`: what a server needs of its machine and its surroundings, each looked at, with what to do about it."""

import enum
import resource
import smtplib
import socket
import ssl
import stat
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

import asyncpg
import trio
from cryptography import x509

from domain.people.ports import MailUnavailable
from settings.api import ApiSettings
from settings.bus import BUS_URL, ValkeyServers
from settings.environment import Address, ConfigError
from settings.mail import MailFolder, MailSettings, Security, Smtp
from settings.relay import RelaySettings
from settings.storage import DatabaseUrl, StorageSettings
from settings.tls import read_metrics_tls, read_relay_tls
from storage.island import open_island
from storage.keys import KeyFileError, read_api_keys, read_relay_keys
from storage.mail import open_mail
from storage.migrate import SchemaError, require_current
from storage.postgres.pooler import refuse_shared_sessions
from tls.certificate import TlsCertificate

PATIENCE: Final = 10.0
"""Seconds for one look."""
SKEW_MOST: Final = 2.0
"""Seconds between this clock and the database's. Tickets and leases allow for some."""
FILES_BESIDE: Final = 3_000
"""Beside the established connections: 2,048 strangers, and what database, bus and logs take."""
CERTIFICATE_DAYS: Final = 14
"""Programs that renew begin a month before the end: with two weeks left, one has failed for a while."""


class Health(enum.StrEnum):
    """How a part is."""

    OK = "ok"
    WARNING = "warning"
    BAD = "FAILED"


class Finding(NamedTuple):
    """What was found of one part, and what to do about it."""

    what: str
    health: Health
    text: str


Look = Callable[[Mapping[str, str]], Awaitable[str]]
"""Looks at one part, and returns what it found. Raises Warning for what works and is not as it should be."""


async def examine(environ: Mapping[str, str], mail_to: str | None, report: Callable[[Finding], None]) -> bool:
    """Look at every part, one after the other; True when none is bad. `mail_to` is sent a test."""
    looks: dict[str, Look] = dict(LOOKS)
    if mail_to is not None:
        looks["test mail"] = lambda told: _send_test(told, mail_to)
    healthy = True
    for what, look in looks.items():
        try:
            with trio.fail_after(PATIENCE):
                finding = Finding(what, Health.OK, await look(environ))
        except Warning as warning:
            finding = Finding(what, Health.WARNING, str(warning))
        except trio.TooSlowError:
            finding = Finding(what, Health.BAD, f"no answer within {PATIENCE:.0f} s")
        except EXPECTED as error:
            finding = Finding(what, Health.BAD, str(error) or type(error).__name__)
        healthy &= finding.health is not Health.BAD
        report(finding)
    return healthy


_LINE: Final = """
    SELECT ssl, client_addr, pg_has_role(relowner, 'USAGE') AS owner
    FROM pg_stat_ssl JOIN pg_stat_activity USING (pid), pg_class
    WHERE pid = pg_backend_pid() AND pg_class.oid = 'schema_migration'::regclass
"""


async def _look_at_database(environ: Mapping[str, str]) -> str:
    settings = StorageSettings.from_environ(environ)
    if not isinstance(settings.database, DatabaseUrl):
        raise Warning("the embedded one: for one machine. For production set VARDE_DATABASE_URL")
    async with open_island() as island:
        connection = await island.run(asyncpg.connect, settings.database.url)
        try:
            await island.run(refuse_shared_sessions, connection, settings.database.url)
            await island.run(require_current, connection)
            before = time.time()
            theirs = await island.run(connection.fetchval, "SELECT extract(epoch FROM clock_timestamp())::float8")
            # Half-way between question and answer: the way there and back must not look like a difference of clocks.
            skew = abs(theirs - (before + time.time()) / 2)
            in_recovery = await island.run(connection.fetchval, "SELECT pg_is_in_recovery()")
            version = ".".join(map(str, connection.get_server_version()[:2]))
            line = await island.run(connection.fetchrow, _LINE)
        finally:
            await island.run(connection.close)
    if in_recovery:
        raise ConfigError("the server is a replica, which takes no writes: name the primary, or both with commas")
    if skew > SKEW_MOST:
        raise ConfigError(f"its clock and this one differ by {skew:.1f} s: run an NTP client on both machines")
    # By what the server sees: the URL may name several servers, and in more than one way. A socket has no address.
    if line is not None and not line["ssl"] and line["client_addr"] is not None and not line["client_addr"].is_loopback:
        raise Warning(f"PostgreSQL {version}, reached without TLS: add sslmode=verify-full to the URL")
    if line is not None and line["owner"]:
        raise Warning(f"PostgreSQL {version}, as the owner of its tables: a program should have a user of its own")
    return f"PostgreSQL {version}, schema up to date, clocks {skew * 1_000:.0f} ms apart"


async def _look_at_certificates(environ: Mapping[str, str]) -> str:
    """Look at what this program shows to others, and by whom it knows them."""
    return await trio.to_thread.run_sync(_judge_certificates, environ)


def _judge_certificates(environ: Mapping[str, str]) -> str:
    pairs: dict[str, tuple[str, str | None]] = {}
    settings = StorageSettings.from_environ(environ)
    if isinstance(settings.database, DatabaseUrl):
        told = parse_qs(urlsplit(settings.database.url).query)
        for name in {"sslrootcert", "sslcert"} & told.keys():
            key = told["sslkey"][-1] if name == "sslcert" and "sslkey" in told else None
            pairs[f"VARDE_DATABASE_URL: {name}"] = told[name][-1], key
    tls = settings.bus.tls if isinstance(settings.bus, ValkeyServers) else None
    if tls is not None and tls.ca is not None:
        pairs[f"{BUS_URL}: ca"] = str(tls.ca), None
    if tls is not None and tls.certificate is not None:
        pairs[f"{BUS_URL}: certificate"] = str(tls.certificate), str(tls.key)
    for files in filter(None, (read_relay_tls(environ), read_metrics_tls(environ))):
        TlsCertificate(files, lambda: time.time_ns() // 1_000_000)
        pairs[files.variables[0]] = str(files.certificate), None
    days = {what: _days_of(what, *pair) for what, pair in pairs.items()}
    if not days:
        return "none, and none is asked for"
    soonest = min(days, key=days.__getitem__)
    if days[soonest] < CERTIFICATE_DAYS:
        raise Warning(f"{soonest}: ends in {days[soonest]} days: is it renewed?")
    return f"{len(days)}, the first ends in {days[soonest]} days"


def _days_of(what: str, certificate: str, key: str | None) -> int:
    """How long a certificate lasts. Raises ConfigError when it cannot be used, or its key by more than its owner."""
    try:
        loaded = x509.load_pem_x509_certificates(Path(certificate).read_bytes())[0]
        if key is not None:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=lambda: "")
            if Path(key).stat().st_mode & stat.S_IRWXO:
                raise ConfigError(f"{what}: everybody on this machine can use the key beside it")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "there is no certificate (PEM) in the file"
        raise ConfigError(f"{what}: {why}") from None
    left = (loaded.not_valid_after_utc - datetime.now(UTC)).days
    if left < 0:
        raise ConfigError(f"{what}: it has ended")
    return left


async def _look_at_keys(environ: Mapping[str, str]) -> str:
    folder = StorageSettings.from_environ(environ).data / "keys"
    await trio.to_thread.run_sync(read_relay_keys, folder)
    await trio.to_thread.run_sync(read_api_keys, folder)
    return f"those in {folder} belong together and are closed to others"


async def _look_at_ports(environ: Mapping[str, str]) -> str:
    api, relay = ApiSettings.from_environ(environ), RelaySettings.from_environ(environ)
    taken = []
    for name, host, port in (("API", api.host, api.port), ("relay", relay.host, relay.port)):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((host, port))
            except PermissionError:
                raise ConfigError(f"port {port} of the {name} needs root: use one above 1023") from None
            except OSError:
                taken.append(f"{Address(host, port)} ({name})")
    if taken:
        raise Warning(f"in use: {', '.join(taken)}. Right if Varde runs there already")
    return "free"


async def _look_at_files(environ: Mapping[str, str]) -> str:
    needed = RelaySettings.from_environ(environ).connections + FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        raise Warning(f"a process may open {soft} files (at the most {hard}); a full relay needs {needed}: ulimit -n")
    return f"a process may open {soft} files"


async def _look_at_relay_url(environ: Mapping[str, str]) -> str:
    url = urlsplit(ApiSettings.from_environ(environ).relay_url)
    host, port = str(url.hostname), url.port or (443 if url.scheme == "wss" else 80)
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = len({each[4][0] for each in found})
    if url.scheme == "ws":
        if host in {"localhost", "127.0.0.1", "::1"}:
            raise Warning("clients of this machine only: set VARDE_RELAY_URL to the wss:// URL that others reach")
        raise ConfigError("VARDE_RELAY_URL is ws://: clients would connect without TLS")
    stream = await trio.open_ssl_over_tcp_stream(host, port, ssl_context=ssl.create_default_context())
    await stream.do_handshake()
    certificate = stream.getpeercert()
    await trio.aclose_forcefully(stream)
    assert certificate is not None
    days = (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - datetime.now(UTC).timestamp()) / 86_400
    if days < CERTIFICATE_DAYS:
        raise Warning(f"its certificate ends in {days:.0f} days: is it renewed?")
    return f"{addresses} address(es), a certificate for {days:.0f} days"


async def _look_at_mail(environ: Mapping[str, str]) -> str:
    settings = MailSettings.from_environ(environ)
    if isinstance(settings.route, MailFolder):
        raise Warning("no mail server: codes go to files. For others than you set VARDE_SMTP_URL")
    return await trio.to_thread.run_sync(_greet, settings.route, abandon_on_cancel=True)


def _greet(route: Smtp) -> str:
    """Connect, protect the connection, sign in: all but the message."""
    context = ssl.create_default_context()
    if route.security is Security.TLS:
        server: smtplib.SMTP = smtplib.SMTP_SSL(route.host, route.port, timeout=PATIENCE, context=context)
    else:
        server = smtplib.SMTP(route.host, route.port, timeout=PATIENCE)
    with server:
        if route.security is Security.STARTTLS:
            server.starttls(context=context)
        if route.user is not None:
            server.login(route.user, route.password)
        server.noop()
    return "it answers, and takes the login" if route.user is not None else "it answers"


async def _send_test(environ: Mapping[str, str], address: str) -> str:
    mail = open_mail(MailSettings.from_environ(environ))
    await mail.send_code(address, "this is a test", expires_in_s=60)
    return "handed over; look whether it comes, and not as spam"


LOOKS: Final[Mapping[str, Look]] = {
    "database": _look_at_database,
    "certificates": _look_at_certificates,
    "keys": _look_at_keys,
    "ports": _look_at_ports,
    "open files": _look_at_files,
    "relay URL": _look_at_relay_url,
    "mail server": _look_at_mail,
}
EXPECTED: Final = (
    *(ConfigError, KeyFileError, SchemaError, MailUnavailable, OSError, smtplib.SMTPException),
    *(asyncpg.PostgresError, asyncpg.InterfaceError, trio.BrokenResourceError),
)
