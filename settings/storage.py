"""Settings of the storage of one program: which database, and how many connections to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from settings.bus import DatabaseBus, ValkeyServers, read_bus
from settings.environment import DATA, RESERVED, ConfigError, read_data, read_number

POOL_MIN: Final = 2
POOL_MAX: Final = 10
POOL_LIMIT: Final = 100  # connections; beyond that Postgres wants a pooler in front, not a larger number here


@dataclass(frozen=True, slots=True)
class EmbeddedDatabase:
    """Our own PostgreSQL, from the wheel, with everything it owns in `folder`."""

    folder: Path


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """Somebody else's PostgreSQL, 15 or newer. The URL holds a password, so it is not shown."""

    url: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSettings:
    """Where the truth is kept. Pool sizes count connections of one process."""

    database: EmbeddedDatabase | DatabaseUrl
    bus: DatabaseBus | ValkeyServers = DatabaseBus()  # noqa: RUF009 - it holds nothing
    data: Path = Path(DATA)
    pool_min: int = POOL_MIN
    pool_max: int = POOL_MAX
    replica: DatabaseUrl | None = None
    """A standby of it, for what may be stale by name: see `domain.transparency.ports.StaleLogStore`."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "StorageSettings":
        """Read `VARDE_DATABASE_URL` or, without it, `VARDE_DATA`; `VARDE_REPLICA_URL`, `VARDE_BUS_URL`, `VARDE_POOL_*`.

        Raises:
            ConfigError: naming the variable.
        """
        pool_max = _connections(environ, "VARDE_POOL_MAX", POOL_MAX)
        pool_min = _connections(environ, "VARDE_POOL_MIN", min(POOL_MIN, pool_max))
        if pool_min > pool_max:
            raise ConfigError(f"VARDE_POOL_MIN is {pool_min}, more than VARDE_POOL_MAX ({pool_max})")
        return cls(
            database=_database(environ),
            bus=read_bus(environ),
            data=read_data(environ),
            pool_min=pool_min,
            pool_max=pool_max,
            replica=_read_url(environ, "VARDE_REPLICA_URL", "unset it to read everything at the primary"),
        )


def _database(environ: Mapping[str, str]) -> EmbeddedDatabase | DatabaseUrl:
    # An empty one is a mistake in a deployment; falling back would start a fresh, empty database beside the real one.
    url = _read_url(environ, "VARDE_DATABASE_URL", "unset it to use the embedded Postgres")
    return url or EmbeddedDatabase(read_data(environ) / "postgres")


def _read_url(environ: Mapping[str, str], name: str, otherwise: str) -> DatabaseUrl | None:
    url = environ.get(name)
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        hosts = parts.netloc.rpartition("@")[2]
        # Several hosts have several ports, which urlsplit does not know.
        whole = "," in hosts or parts.port is None or parts.port > 0
    except ValueError:  # its text shows what it could not read, which may be half a password
        raise ConfigError(f"{name} cannot be read: {RESERVED}") from None
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ConfigError(f"{name} must begin with postgresql:// ({otherwise})")
    query = [each for each in parts.query.split("&") if each]
    # What stands behind the first of these characters in a password passes for a path, a query or a fragment.
    if not whole or parts.fragment or "@" in parts.path or not all("=" in each for each in query):
        raise ConfigError(f"{name} cannot be read: {RESERVED}")
    return DatabaseUrl(url)


def _connections(environ: Mapping[str, str], name: str, default: int) -> int:
    return read_number(environ, name, default, least=1, most=POOL_LIMIT, unit="connections")
