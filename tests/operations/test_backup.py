"""Backup and restore with a real Postgres and its own tools: whole, secret, and never into something that is in use."""

import io
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from operations import backup
from operations.backup import BackupError, back_up, hand_out_keys, restore
from settings.storage import DatabaseUrl, StorageSettings
from storage.embedded.cluster import program
from storage.key_rotation import rotate
from storage.keys import KeyFileError, make_keys, read_api_keys, read_relay_keys
from storage.log_key import LogKey
from tests.debian_postgres import GROUP, DebianPostgres
from tests.postgres import database

ACCOUNT = "INSERT INTO account (account_id, created_ms) VALUES ('018f0000-0000-7000-8000-00000000000{}', 1)"


def sql(url: str, statement: str) -> str:
    """Run a statement and return what it says."""
    command = (program("psql"), "-X", "-At", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", statement)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def quiet(_: str) -> None:
    """Nobody is told of progress."""


@pytest.fixture
def server(tmp_path: Path, database_url: str) -> StorageSettings:
    """A server with keys, a log, and two accounts."""
    data = tmp_path / "data"
    make_keys(data / "keys")
    LogKey(data / "log")
    for number in (1, 2):
        sql(database_url, ACCOUNT.format(number))
    return StorageSettings(database=DatabaseUrl(database_url), data=data)


async def test_what_was_backed_up_comes_back(server: StorageSettings, tmp_path: Path, bare_database_url: str) -> None:
    """Every row and every key, in a file that nobody else can read; what was written later is not in it."""
    file = tmp_path / "backup.tar"
    rows = await back_up(server, file, quiet)
    assert rows["public.account"] == 2
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {each.name for each in tmp_path.iterdir()} == {"data", "backup.tar"}  # noqa: ASYNC240 - two names
    with tarfile.open(file) as archive:
        assert not [name for name in archive.getnames() if name.endswith((".mark", ".last"))]
    elsewhere = StorageSettings(database=DatabaseUrl(bare_database_url), data=tmp_path / "elsewhere")
    assert await restore(elsewhere, file, quiet) == rows
    assert sql(bare_database_url, "SELECT count(*) FROM account") == "2"
    assert read_relay_keys(elsewhere.data / "keys") == read_relay_keys(server.data / "keys")
    assert read_api_keys(elsewhere.data / "keys") == read_api_keys(server.data / "keys")
    with pytest.raises(BackupError, match="not empty"):
        await restore(elsewhere, file, quiet)


@pytest.mark.xdist_group(GROUP)
async def test_a_backup_may_go_over_tls(debian_postgres: DebianPostgres, debian_url: str, tmp_path: Path) -> None:
    """With a certificate and in full, for which the programs of the embedded Postgres are not enough."""
    make_keys(tmp_path / "data" / "keys")
    LogKey(tmp_path / "data" / "log")
    sql(debian_url, ACCOUNT.format(1))
    options = debian_postgres.trusted | debian_postgres.files("by_certificate")

    def over_tls(url: str) -> DatabaseUrl:
        name = url.partition("?")[0].rpartition("/")[2]
        return DatabaseUrl(debian_postgres.url("by_certificate", name, **options))

    here = StorageSettings(database=over_tls(debian_url), data=tmp_path / "data")
    rows = await back_up(here, tmp_path / "backup.tar", quiet)
    assert rows["public.account"] == 1
    with database(debian_postgres.local, "template0", maintenance="postgres") as url:
        elsewhere = StorageSettings(database=over_tls(url), data=tmp_path / "elsewhere")
        assert await restore(elsewhere, tmp_path / "backup.tar", quiet) == rows


@pytest.mark.xdist_group(GROUP)
async def test_a_backup_comes_back_on_the_oldest_server(
    server: StorageSettings, tmp_path: Path, debian_postgres: DebianPostgres
) -> None:
    """Our tools are newer than PostgreSQL 15, which does not know all settings that they begin with.

    The password has signs in it that a URL spells otherwise.
    """
    file = tmp_path / "backup.tar"
    rows = await back_up(server, file, quiet)
    with database(debian_postgres.local, "template0", maintenance="postgres") as local:
        name = local.partition("?")[0].rpartition("/")[2]
        url = debian_postgres.url("by_password", name, sslmode="require")
        elsewhere = StorageSettings(database=DatabaseUrl(url), data=tmp_path / "elsewhere")
        assert await restore(elsewhere, file, quiet) == rows


async def test_nothing_is_overwritten(server: StorageSettings, tmp_path: Path, bare_database_url: str) -> None:
    """Neither a file that is there, nor keys that are others; the database stays empty then."""
    file = tmp_path / "backup.tar"
    await back_up(server, file, quiet)
    with pytest.raises(BackupError, match="there already"):
        await back_up(server, file, quiet)
    other = StorageSettings(database=DatabaseUrl(bare_database_url), data=tmp_path / "other")
    make_keys(other.data / "keys")
    with pytest.raises(BackupError, match="another key"):
        await restore(other, file, quiet)
    assert sql(bare_database_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "0"


async def test_what_is_no_backup_is_refused(server: StorageSettings, tmp_path: Path) -> None:
    """Whatever it is, and before anything is touched."""
    file = tmp_path / "backup.tar"
    file.write_bytes(b"not a tar")
    with pytest.raises(BackupError, match="no backup"):
        await restore(server, file, quiet)
    with tarfile.open(file, "w") as archive:
        member = tarfile.TarInfo("about.json")
        member.size = 14
        archive.addfile(member, io.BytesIO(b'{"format": 99}'))
    with pytest.raises(BackupError, match="another version"):
        await restore(server, file, quiet)


async def test_a_server_without_keys_is_named(tmp_path: Path, database_url: str) -> None:
    """A backup without keys would bring nobody back."""
    bare = StorageSettings(database=DatabaseUrl(database_url), data=tmp_path)
    with pytest.raises(BackupError, match="VARDE_DATA"):
        await back_up(bare, tmp_path / "backup.tar", quiet)


def test_a_program_gets_its_own_keys_alone(server: StorageSettings, tmp_path: Path) -> None:
    """The relay can start with its folder, and not with the API's."""
    hand_out_keys(server.data, "relay", tmp_path / "relay")
    hand_out_keys(server.data, "api", tmp_path / "api")
    assert read_relay_keys(tmp_path / "relay") == read_relay_keys(server.data / "keys")
    assert read_api_keys(tmp_path / "api") == read_api_keys(server.data / "keys")
    with pytest.raises(KeyFileError):
        read_api_keys(tmp_path / "relay")
    with pytest.raises(KeyFileError):
        read_relay_keys(tmp_path / "api")
    with pytest.raises(KeyFileError, match="cannot be made"):
        hand_out_keys(server.data, "relay", tmp_path / "missing" / "relay")


async def test_a_backup_in_the_middle_of_a_change_of_keys_holds_both(
    server: StorageSettings, tmp_path: Path, bare_database_url: str
) -> None:
    """Whoever holds something of the old key is not locked out by a restore."""
    rotate(server.data / "keys", "ticket", 0)
    await back_up(server, tmp_path / "backup.tar", quiet)
    elsewhere = StorageSettings(database=DatabaseUrl(bare_database_url), data=tmp_path / "elsewhere")
    await restore(elsewhere, tmp_path / "backup.tar", quiet)
    assert read_relay_keys(elsewhere.data / "keys").other_ticket_publics
    assert read_relay_keys(elsewhere.data / "keys") == read_relay_keys(server.data / "keys")


async def test_nobody_else_can_read_while_it_is_made(
    server: StorageSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dump lies in a folder closed to others, also while a server of another user restores it aside."""
    seen: list[tuple[str, int]] = []
    count = backup._count

    def note_modes() -> None:
        for path in tmp_path.glob(".backup.tar.*"):
            seen.extend((each.name, stat.S_IMODE(each.stat().st_mode)) for each in (path, *path.glob("*.dump")))

    async def look(*arguments: Any) -> dict[str, int]:
        note_modes()
        return await count(*arguments)

    monkeypatch.setattr(backup, "_count", look)
    await back_up(server, tmp_path / "backup.tar", quiet)
    assert {name for name, _ in seen} >= {"database.dump", "restored.dump"}
    assert {mode for _, mode in seen} == {0o700, 0o600}


async def test_a_backup_that_is_cut_off_is_refused(
    server: StorageSettings, tmp_path: Path, bare_database_url: str
) -> None:
    """And nothing of it is put anywhere."""
    file = tmp_path / "backup.tar"
    await back_up(server, file, quiet)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])
    other = StorageSettings(database=DatabaseUrl(bare_database_url), data=tmp_path / "other")
    with pytest.raises(BackupError):
        await restore(other, file, quiet)
    assert sql(bare_database_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "0"
    assert not (tmp_path / "other").exists()
