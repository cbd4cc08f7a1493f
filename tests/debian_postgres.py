"""A PostgreSQL that is not ours: Debian's own 15, as an operator would have it; one for each pytest process.

It is the oldest version that is promised, built by somebody else, so what runs here runs on what people have. It also
speaks TLS over TCP, which the embedded one was built without, and lets in by certificate or by password.
"""

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

import pytest

from chaos.certificates import Authority, issue
from supervisor.ports import free_port
from tests.postgres import database, run_sql
from tests.system import SCRATCH, require

GROUP: Final = "debian-postgres"
"""The xdist group of every test that asks for it: one server is enough."""
PROGRAMS: Final = Path("/usr/lib/postgresql/15/bin")
DEADLINE: Final = "60"  # seconds, for pg_ctl: a server that is not there by then has written why
PASSWORD: Final = "open sesame/?&"
HBA: Final = """
local     all  all            trust
hostssl   all  by_certificate 127.0.0.1/32 cert
hostssl   all  by_password    127.0.0.1/32 scram-sha-256
hostnossl all  without_tls    127.0.0.1/32 scram-sha-256
host      all  either_way     127.0.0.1/32 scram-sha-256
hostssl   all  varde_relay,varde_api,varde_worker 127.0.0.1/32 scram-sha-256
"""
PEOPLE: Final = "by_certificate", "by_password", "without_tls", "either_way"


class DebianPostgres(NamedTuple):
    """The server. `local` is a URL of its superuser; files of clients lie in `folder`."""

    port: int
    local: str
    authority: Authority
    folder: Path

    def url(self, user: str, name: str, *, host: str = "127.0.0.1", password: str = PASSWORD, **options: str) -> str:
        """The URL of a database over TCP, as an operator would write it."""
        query = f"?{urlencode(options)}" if options else ""
        return f"postgresql://{user}:{quote(password, safe='')}@{host}:{self.port}/{name}{query}"

    def files(self, user: str, authority: Authority | None = None) -> dict[str, str]:
        """Options that show a certificate of this user, by our authority or another one."""
        certificate, key = issue(authority or self.authority, self.folder / user, name=user)
        return {"sslcert": str(certificate), "sslkey": str(key)}

    @property
    def trusted(self) -> dict[str, str]:
        """Options that check the server in full."""
        return {"sslmode": "verify-full", "sslrootcert": str(self.folder / "ca.pem")}


@pytest.fixture(scope="session")
def debian_postgres() -> Iterator[DebianPostgres]:
    """The server, with the schema in its database `varde`, brought there by the command that operators use."""
    require(str(PROGRAMS / "postgres"), "postgresql-15")
    with (
        tempfile.TemporaryDirectory(prefix="varde-", dir=SCRATCH) as made,
        tempfile.TemporaryDirectory(prefix="varde-", dir=SCRATCH) as clients,
    ):
        folder, cluster, user = Path(made), Path(made) / "cluster", _unprivileged(Path(made))
        _run("initdb", "-D", cluster, "-U", "varde", "-A", "trust", "-E", "UTF8", "--no-sync", **user)
        authority = Authority()
        Path(clients, "ca.pem").write_bytes(authority.pem())
        settings = _write_files(cluster, authority, user)
        port = free_port()
        on = " ".join(f"-c {name}={value}" for name, value in settings.items()) + f" -c port={port} -k {folder}"
        _run("pg_ctl", "-D", cluster, "-l", folder / "log", "-o", on, "-w", "-t", DEADLINE, "start", **user)
        try:
            local = f"postgresql://varde@/varde?host={folder}&port={port}"
            run_sql(local.replace("/varde?", "/postgres?"), "CREATE DATABASE varde")
            run_sql(local, *(f"CREATE ROLE {each} LOGIN SUPERUSER PASSWORD '{PASSWORD}'" for each in PEOPLE))
            environ = os.environ | {"VARDE_DATABASE_URL": local}
            command = (sys.executable, "-m", "storage", "migrate")
            subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)
            yield DebianPostgres(port, local, authority, Path(clients))
        finally:
            _run("pg_ctl", "-D", cluster, "-m", "immediate", "-w", "-t", DEADLINE, "stop", **user)


@pytest.fixture
def debian_url(debian_postgres: DebianPostgres) -> Iterator[str]:
    """The URL of a fresh database on it, behind its Unix socket."""
    with database(debian_postgres.local, "varde", maintenance="postgres") as url:
        yield url


@pytest.fixture
def debian_database(debian_url: str) -> str:
    """The name of that database."""
    return debian_url.partition("?")[0].rpartition("/")[2]


def _write_files(cluster: Path, authority: Authority, user: dict[str, Any]) -> dict[str, str]:
    """Who may come and how, and the server's certificate. Returns its settings."""
    tls = cluster / "tls"
    certificate, key = issue(authority, tls)
    (tls / "ca.pem").write_bytes(authority.pem())
    (cluster / "pg_hba.conf").write_text(HBA)
    for path in (tls, *tls.iterdir()) if user else ():
        os.chown(path, user["user"], user["group"])
    files = {"ssl_cert_file": str(certificate), "ssl_key_file": str(key), "ssl_ca_file": str(tls / "ca.pem")}
    return files | {"listen_addresses": "127.0.0.1", "fsync": "off", "ssl": "on"}


def _unprivileged(folder: Path) -> dict[str, Any]:
    """Whom to run as: this user, or for root, as whom PostgreSQL refuses to run, the one of the Debian package."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam("postgres")
    os.chown(folder, entry.pw_uid, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _run(program: str, *arguments: str | Path, **user: Any) -> None:
    """Run one of Debian's programs to its end. It may leave a server behind, so nobody waits for its pipes."""
    command = (PROGRAMS / program, *arguments)
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd="/", **user)
