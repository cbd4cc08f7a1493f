"""Settings of the bus: over the database itself, or over Valkey (or Redis), one server or a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote

from settings.environment import Address, BadAddress, ConfigError, split_url

BUS_URL: Final = "VARDE_BUS_URL"
PORT: Final = 6379
_SCHEMES: Final = {"redis", "rediss", "redis+cluster", "rediss+cluster"}
_FILES: Final = ("ca", "certificate", "key")


@dataclass(frozen=True, slots=True)
class DatabaseBus:
    """LISTEN/NOTIFY on the database. Needs nothing; every process hears everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValkeyTls:
    """TLS to Valkey. Without `ca`, the system's authorities are trusted; `certificate` and `key` say who we are."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ValkeyServers:
    """One server, or some nodes of one cluster, which knows the others."""

    addresses: tuple[Address, ...]
    cluster: bool = False
    tls: ValkeyTls | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def read_bus(environ: Mapping[str, str]) -> DatabaseBus | ValkeyServers:
    """Read `VARDE_BUS_URL`: `redis[s][+cluster]://[user:password@]host[:port][,host[:port]...][?ca=&certificate=&key=]`.

    Without it, or empty: the database.

    Raises:
        ConfigError: naming the variable, never its value, which may hold a password.
    """
    text = environ.get(BUS_URL)
    if not text:
        return DatabaseBus()
    url = split_url(BUS_URL, text)
    if url.scheme not in _SCHEMES:
        raise ConfigError(f"{BUS_URL} must begin with redis://, rediss://, redis+cluster:// or rediss+cluster://")
    if url.path.strip("/") or url.fragment:
        raise ConfigError(f"{BUS_URL} has a path: a bus knows no numbered databases")
    credentials, _, hosts = url.netloc.rpartition("@")
    addresses = tuple(_address(host) for host in hosts.split(","))
    cluster = url.scheme.endswith("+cluster")
    if len(addresses) > 1 and not cluster:
        raise ConfigError(f"{BUS_URL} names several servers: write redis+cluster:// for a cluster of them")
    encrypted = url.scheme.startswith("rediss")
    if url.query and not encrypted:
        raise ConfigError(f"{BUS_URL} has options that are for rediss:// and rediss+cluster:// only")
    user, _, password = credentials.partition(":")
    return ValkeyServers(
        addresses=addresses,
        cluster=cluster,
        tls=_tls(url.query) if encrypted else None,
        user=unquote(user) or None,
        password=unquote(password) or None,
    )


def _address(host: str) -> Address:
    # A port is left out more often than not; `[::1]` ends like a port but is none.
    has_port = ":" in host.rpartition("]")[2]
    try:
        return Address.parse(host if has_port else f"{host}:{PORT}")
    except BadAddress:
        raise ConfigError(f"{BUS_URL} must name host or host:port, several with commas between") from None


def _tls(query: str) -> ValkeyTls:
    values = parse_qs(query, keep_blank_values=True)
    if unknown := values.keys() - set(_FILES):
        raise ConfigError(f"{BUS_URL} has {len(unknown)} options it does not know; there are {', '.join(_FILES)}")
    files = {name: Path(value[-1]) for name, value in values.items()}
    if ("certificate" in files) is not ("key" in files):
        raise ConfigError(f"{BUS_URL} needs certificate= and key= together")
    return ValkeyTls(**files)
