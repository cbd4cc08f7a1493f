"""The audit log: appended to and never changed, and whoever changes it all the same is seen."""

import json
import subprocess
import time
from pathlib import Path

import asyncpg
import pytest
import trio
from click.testing import CliRunner, Result

from operations.commands import server
from settings.audit import AuditSettings
from settings.storage import DatabaseUrl, StorageSettings
from storage.audit import Action, Entry, first_broken, read_entries, record, record_configuration
from storage.embedded.cluster import program
from storage.keys import make_keys
from storage.postgres.retention import AUDIT_LIFE_MS
from storage.stores import open_storage

ALL = 1_000


@pytest.fixture
def settings(database_url: str) -> StorageSettings:
    """A database of one's own."""
    return StorageSettings(database=DatabaseUrl(database_url), pool_min=1, pool_max=1)


def sql(settings: StorageSettings, statement: str) -> str:
    """Run a statement as the owner of the database, and return what is said on standard error."""
    assert isinstance(settings.database, DatabaseUrl)
    command = (program("psql"), "-X", "-q", "-d", settings.database.url, "-c", statement)
    return subprocess.run(command, check=False, capture_output=True, text=True).stderr


async def told(settings: StorageSettings) -> list[tuple[str, str, str]]:
    """What was done since the database was migrated: on what, and how."""
    migrated, *entries = await read_entries(settings, ALL)
    assert (migrated.number, migrated.action) == (1, "migrate")
    return [(each.action, each.target, each.detail) for each in entries]


async def test_entries_come_in_order_and_stay(settings: StorageSettings) -> None:
    """Nobody can change, delete or truncate them who does not first take the triggers away."""
    await record(settings, Action.NODE_SHED, "oslo-1", "20")
    await record(settings, Action.ROTATE_KEY, "ticket", "settled-insist")
    assert await told(settings) == [("node-shed", "oslo-1", "20"), ("rotate-key", "ticket", "settled-insist")]
    for statement in ("UPDATE audit_entry SET actor = 'x'", "DELETE FROM audit_entry", "TRUNCATE audit_entry"):
        assert "only appended to" in sql(settings, statement)
    entries = await read_entries(settings, ALL)
    assert [each.number for each in entries] == [1, 2, 3]
    assert first_broken(entries) is None
    assert first_broken(await read_entries(settings, 1)) is None


@pytest.mark.parametrize("target", ["somebody@example.org", "01912d68-783e-7a1b", "x" * 65, "192.0.2.1:8401", "a b"])
async def test_no_field_takes_an_address(settings: StorageSettings, target: str) -> None:
    """Fields are short words of small letters; an id of a person is longer than what is allowed with its hyphens."""
    if target.startswith("01912d68"):
        target *= 4
    with pytest.raises(asyncpg.CheckViolationError):
        await record(settings, Action.NODE_DRAIN, target)
    assert await told(settings) == []


async def test_many_at_once_make_one_chain(settings: StorageSettings) -> None:
    """Each continues another one."""
    async with trio.open_nursery() as nursery:
        for number in range(12):
            nursery.start_soon(record, settings, Action.NODE_DRAIN, f"oslo-{number}")
    entries = await read_entries(settings, ALL)
    assert [each.number for each in entries] == list(range(1, 14))
    assert first_broken(entries) is None


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_entry SET target = 'bergen-1' WHERE number = 2",
        "UPDATE audit_entry SET done_ms = done_ms - 1 WHERE number = 2",
        "DELETE FROM audit_entry WHERE number = 2",
    ],
)
def test_whoever_owns_the_database_is_seen(settings: StorageSettings, change: str) -> None:
    """They can take the triggers away; the chain then breaks where they were, and the command fails."""
    for number in (1, 2, 3):
        trio.run(record, settings, Action.NODE_DRAIN, f"oslo-{number}")
    assert call(settings, "audit").exit_code == 0
    assert sql(settings, f"ALTER TABLE audit_entry DISABLE TRIGGER ALL; {change}") == ""
    result = call(settings, "audit")
    assert result.exit_code == 1
    assert "entry 2 was changed or is missing" in result.output


async def test_settings_are_told_when_they_change(settings: StorageSettings) -> None:
    """Once for the same, for each node by its name; a password is in no digest."""
    told_it = {"VARDE_RELAY_NAME": "oslo-1", "VARDE_RELAY_CONNECTIONS": "10", "PATH": "/bin"}
    for change in (
        {},
        {"PATH": "/usr/bin"},
        {"VARDE_DATABASE_URL": "postgresql://varde:secret@db/varde", "VARDE_SMTP_URL": "smtp://x:secret@mail"},
        {"VARDE_RELAY_CONNECTIONS": "11"},
    ):
        await record_configuration(settings, "relay", AuditSettings.from_environ(told_it | change))
        await record_configuration(settings, "worker", AuditSettings.from_environ({}))
    entries = await told(settings)
    assert [each[:2] for each in entries] == [
        ("configure", "relay.oslo-1"),
        ("configure", "worker"),
        ("configure", "relay.oslo-1"),
    ]
    assert len({digest for _, _, digest in entries}) == 3


async def test_a_program_serves_without_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A database that went away right after the start ends no program."""
    nowhere = StorageSettings(database=DatabaseUrl(f"postgresql:///x?host={tmp_path}"))
    await record_configuration(nowhere, "api", AuditSettings())
    assert "not in the audit log" in caplog.text


async def test_it_is_kept_for_400_days(settings: StorageSettings) -> None:
    """Then the worker's sweep takes it, and what is left is still one chain."""
    now_ms = time.time_ns() // 1_000_000
    await record(settings, Action.BACKUP)
    old = f"UPDATE audit_entry SET done_ms = {now_ms - AUDIT_LIFE_MS - 1} WHERE number = 1"  # noqa: S608
    triggers = "ALTER TABLE audit_entry {} TRIGGER ALL"
    assert sql(settings, f"{triggers.format('DISABLE')}; {old}; {triggers.format('ENABLE')}") == ""
    async with open_storage(settings) as stores:
        await stores.retention.sweep(now_ms, retention_ms=1, limit=100)
    entries = await read_entries(settings, ALL)
    assert [(each.number, each.action) for each in entries] == [(2, "backup")]
    assert first_broken(entries) is None


def call(settings: StorageSettings, *arguments: str, data: Path | None = None) -> Result:
    """Run a command of `varde server`."""
    assert isinstance(settings.database, DatabaseUrl)
    environ = {"VARDE_DATABASE_URL": settings.database.url, "VARDE_DATA": str(data), "SUDO_USER": "kari"}
    return CliRunner().invoke(server, list(arguments), env=environ)


def test_a_change_of_keys_and_a_backup_are_in_it(settings: StorageSettings, tmp_path: Path) -> None:
    """With who did it, before it was done: also what was refused then."""
    make_keys(tmp_path / "keys")
    for _ in range(3):
        call(settings, "keys", "rotate", "ticket", data=tmp_path)
    call(settings, "backup", str(tmp_path / "file.tar"), data=tmp_path / "nowhere")
    result = call(settings, "audit", "--json")
    assert result.exit_code == 0
    entries = [json.loads(line, object_hook=lambda it: Entry(**it)) for line in result.stdout.splitlines()][1:]
    assert [(each.actor, each.action, each.target, each.detail) for each in entries] == [
        ("kari", "rotate-key", "ticket", "settled"),
        ("kari", "rotate-key", "ticket", "announced"),
        ("kari", "rotate-key", "ticket", "switched"),
        ("kari", "backup", "", ""),
    ]
    assert "kari" in call(settings, "audit").output


def test_nothing_is_done_that_cannot_be_recorded(tmp_path: Path) -> None:
    """A database that is away stops a change of keys before it begins."""
    make_keys(tmp_path / "keys")
    nowhere = StorageSettings(database=DatabaseUrl(f"postgresql:///x?host={tmp_path}"))
    result = call(nowhere, "keys", "rotate", "ticket", data=tmp_path)
    assert result.exit_code == 1
    assert "the audit log cannot be used" in result.output
    assert not list(tmp_path.glob("keys/*.next"))
