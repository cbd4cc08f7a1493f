"""What the environment may say about storage, and what is refused."""

from pathlib import Path
from urllib.parse import quote

import pytest

from settings.environment import ConfigError
from settings.storage import DatabaseUrl, EmbeddedDatabase, StorageSettings

SECRET_URL = "postgresql://varde:tops3cret@db.example/varde"


def test_without_a_word_the_embedded_postgres_is_used() -> None:
    """An empty environment means the embedded Postgres in `.varde/postgres`."""
    config = StorageSettings.from_environ({})
    assert config == StorageSettings(database=EmbeddedDatabase(Path(".varde/postgres")), pool_min=2, pool_max=10)


def test_the_data_folder_moves_the_embedded_postgres() -> None:
    """VARDE_DATA says where the cluster lies."""
    assert StorageSettings.from_environ({"VARDE_DATA": "/srv/varde"}).database == EmbeddedDatabase(
        Path("/srv/varde/postgres")
    )


def test_a_url_replaces_the_embedded_postgres() -> None:
    """VARDE_DATABASE_URL wins over VARDE_DATA."""
    config = StorageSettings.from_environ({"VARDE_DATABASE_URL": SECRET_URL, "VARDE_DATA": "/srv/varde"})
    assert config.database == DatabaseUrl(SECRET_URL)


def test_the_url_is_not_shown() -> None:
    """The password in the URL does not reach a log through repr."""
    assert "tops3cret" not in repr(StorageSettings.from_environ({"VARDE_DATABASE_URL": SECRET_URL}))


@pytest.mark.parametrize("url", ["", "mysql://varde:tops3cret@db/varde", "db.example", "/tops3cret"])
def test_a_url_that_is_none_of_postgres_is_refused(url: str) -> None:
    """A wrong VARDE_DATABASE_URL is refused by name and not shown; an empty one does not mean the embedded one."""
    with pytest.raises(ConfigError, match="VARDE_DATABASE_URL") as caught:
        StorageSettings.from_environ({"VARDE_DATABASE_URL": url})
    assert "tops3cret" not in str(caught.value)


def test_a_replica_is_read_and_not_shown() -> None:
    """VARDE_REPLICA_URL names a standby; there is none without it, and no wrong one is taken."""
    config = StorageSettings.from_environ({"VARDE_REPLICA_URL": SECRET_URL})
    assert config.replica == DatabaseUrl(SECRET_URL)
    assert "tops3cret" not in repr(config)
    assert StorageSettings.from_environ({}).replica is None
    with pytest.raises(ConfigError, match="VARDE_REPLICA_URL"):
        StorageSettings.from_environ({"VARDE_REPLICA_URL": ""})


@pytest.mark.parametrize("password", ["tops/cret", "tops#cret", "tops?cret", "tops[cret", "tops]cret", "12/3@4", "1#2"])
def test_a_password_with_reserved_characters_is_told_how_to_write(password: str) -> None:
    """Not half of it is shown, and it is not taken for a path or a port."""
    url = f"postgresql://varde:{password}@db.example:5432/varde"
    with pytest.raises(ConfigError, match=r"VARDE_DATABASE_URL cannot be read: .*%2F") as caught:
        StorageSettings.from_environ({"VARDE_DATABASE_URL": url})
    assert password[:4] not in str(caught.value)
    assert caught.value.__cause__ is None
    quoted = url.replace(password, quote(password, safe=""))
    assert StorageSettings.from_environ({"VARDE_DATABASE_URL": quoted}).database == DatabaseUrl(quoted)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://varde@db1:5432,db2:5433/varde?target_session_attrs=read-write",
        "postgresql:///varde?host=/run/postgresql&user=varde",
        "postgres://varde:a%2Fb@[::1]:5432/varde",
    ],
)
def test_every_other_way_to_write_a_url_is_taken(url: str) -> None:
    """Several hosts, a socket, IPv6."""
    assert StorageSettings.from_environ({"VARDE_DATABASE_URL": url}).database == DatabaseUrl(url)


def test_pool_sizes_are_read() -> None:
    """VARDE_POOL_MIN and VARDE_POOL_MAX set the number of connections."""
    config = StorageSettings.from_environ({"VARDE_POOL_MIN": "5", "VARDE_POOL_MAX": "100"})
    assert (config.pool_min, config.pool_max) == (5, 100)


def test_a_small_pool_needs_no_minimum() -> None:
    """VARDE_POOL_MAX=1 alone is enough: the default minimum follows it down."""
    config = StorageSettings.from_environ({"VARDE_POOL_MAX": "1"})
    assert (config.pool_min, config.pool_max) == (1, 1)


@pytest.mark.parametrize("name", ["VARDE_POOL_MIN", "VARDE_POOL_MAX"])
@pytest.mark.parametrize("text", ["", "0", "-1", "101", "ten", "1.5", "٣", " 5"])
def test_a_pool_size_that_is_none_is_refused(name: str, text: str) -> None:
    """Anything but a number from 1 to 100 is refused, and the error names the variable."""
    with pytest.raises(ConfigError, match=name):
        StorageSettings.from_environ({name: text})


def test_a_minimum_above_the_maximum_is_refused() -> None:
    """A pool cannot be larger than itself."""
    with pytest.raises(ConfigError, match=r"VARDE_POOL_MIN is 7.*VARDE_POOL_MAX"):
        StorageSettings.from_environ({"VARDE_POOL_MIN": "7", "VARDE_POOL_MAX": "6"})
