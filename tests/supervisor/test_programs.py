"""The descriptions of the programs, and the settings they come from."""

from pathlib import Path

import pytest

from supervisor.programs import Programs, ready_message
from supervisor.settings import SystemSettings


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ('{"ready": "api", "address": "127.0.0.1:8400"}', "127.0.0.1:8400"),
        ('{"ready": "api"}', ""),
        ('{"ready": "relay", "address": "127.0.0.1:8400"}', None),
        ('{"ready": ', None),
        ("ready", None),
        ("[1]", None),
    ],
)
def test_only_its_own_announcement_makes_a_program_ready(line: str, address: str | None) -> None:
    """Other lines, other programs' announcements and broken JSON do not."""
    assert ready_message("api")(line) == address


def test_settings_come_from_the_environment_and_options_are_stronger() -> None:
    """One reader of the environment, with the documented names and defaults; secrets are not shown."""
    assert SystemSettings.from_environ({}).data == Path.cwd() / ".varde"
    environ = {"VARDE_DATA": "/d", "VARDE_API_BIND": "h:1", "VARDE_DATABASE_URL": "postgresql://u:secret@h/d"}
    settings = SystemSettings.from_environ(environ, api_bind="h:2", relay_bind="h:3")
    assert (settings.data, settings.api_bind.port, settings.relay_bind.port) == (Path("/d"), 2, 3)
    assert "secret" not in repr(settings)


def test_a_program_is_told_only_the_secrets_it_needs() -> None:
    """Only the API sees the mail server's password, Postgres sees none, and a client's passphrase stays."""
    secrets = {
        "VARDE_PASSPHRASE": "mine",
        "VARDE_SMTP_URL": "smtps://u:p@mail.example",
        "VARDE_DATABASE_URL": "postgresql://u:p@db.example/varde",
    }
    settings = SystemSettings.from_environ({**secrets, "PATH": "/bin"})
    programs = Programs(settings, settings.api_bind, settings.relay_bind)
    told = {
        program.name: secrets.keys() & program.environ.keys()
        for program in (programs.postgres(), programs.migrate(), programs.relay(), programs.api(), programs.worker())
    }
    assert told == {
        "postgres": set(),
        "migrate": {"VARDE_DATABASE_URL"},
        "relay": {"VARDE_DATABASE_URL"},
        "api": {"VARDE_DATABASE_URL", "VARDE_SMTP_URL"},
        "worker": {"VARDE_DATABASE_URL"},
    }
    assert programs.postgres().environ["PATH"] == "/bin"


def test_a_worker_is_told_what_makes_it_one() -> None:
    """It may listen where others do, has metrics of its own, and more time to stop than its clients have to go."""
    environ = {"VARDE_RELAY_METRICS_BIND": "127.0.0.1:9400", "VARDE_RELAY_DRAIN_SECONDS": "60"}
    settings = SystemSettings.from_environ(environ, relay_workers=2)
    programs = Programs(settings, settings.api_bind, settings.relay_bind)
    workers = [programs.relay_node(index) for index in range(2)]
    assert [each.name for each in workers] == ["relay-1", "relay-2"]
    assert {each.environ["VARDE_RELAY_REUSE_PORT"] for each in workers} == {"1"}
    metrics = [each.environ["VARDE_RELAY_METRICS_BIND"] for each in workers]
    assert metrics == ["127.0.0.1:9400", "127.0.0.1:9401"]
    assert workers[0].stop_timeout > 60
    assert programs.relay().stop_timeout > workers[0].stop_timeout
    assert programs.relay().command[-3:] == ("relay", "--workers", "2")
