"""The descriptions of the programs, and the settings they come from."""

import re
from pathlib import Path

import pytest

from settings.environment import Address, ConfigError
from settings.tls import TlsFiles
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


def told_to_the_api(environ: dict[str, str], **given: str) -> tuple[str, str]:
    """What the API says to clients of the relay, and what `varde up` shows."""
    settings = SystemSettings.from_environ(environ, together=True, **given)  # type: ignore[arg-type]
    programs = Programs(settings, settings.api_bind, settings.relay_bind)
    return programs.api().environ["VARDE_RELAY_URL"], programs.relay_url


def test_nobody_is_sent_to_a_loopback_address_of_their_own() -> None:
    """Where the API listens for other machines the relay does too, and is named as the API was reached."""
    here = "ws://127.0.0.1:8401/v1/relay"
    assert told_to_the_api({}) == (here, here)
    for everywhere, loopback in (("0.0.0.0:8400", "127.0.0.1"), ("[::]:8400", "[::1]")):
        told = told_to_the_api({}, api_bind=everywhere)
        assert told == ("ws://*:8401/v1/relay", f"ws://{loopback}:8401/v1/relay")
        assert told_to_the_api({"VARDE_API_BIND": everywhere}) == told
    lan = "ws://192.168.1.20:8401/v1/relay"
    assert told_to_the_api({}, api_bind="192.168.1.20:8400") == (lan, lan)
    own = {"VARDE_RELAY_URL": "wss://relay.example.org/v1/relay"}
    assert told_to_the_api(own, api_bind="0.0.0.0:8400", relay_bind="127.0.0.1:8401")[0] == own["VARDE_RELAY_URL"]


def test_a_relay_that_nobody_could_reach_is_refused() -> None:
    """With what to write instead. Programs that are run alone may be reached in any way."""
    with pytest.raises(ConfigError, match=re.escape("give --relay-bind 0.0.0.0:8401")):
        told_to_the_api({}, api_bind="0.0.0.0:8400", relay_bind="127.0.0.1:8401")
    alone = {"VARDE_API_BIND": "0.0.0.0:8400", "VARDE_RELAY_BIND": "127.0.0.1:8401"}
    assert SystemSettings.from_environ(alone).relay_bind.host == "127.0.0.1"


def test_a_public_name_is_in_every_address() -> None:
    """And both listen on all addresses, unless they are told otherwise."""
    settings = SystemSettings.from_environ({}, public="Chat.Example.org", together=True)
    assert (str(settings.api_bind), str(settings.relay_bind)) == ("0.0.0.0:8400", "0.0.0.0:8401")
    files = TlsFiles(Path("/c"), Path("/k"))
    programs = Programs(settings.with_certificates(files), settings.api_bind, settings.relay_bind)
    assert programs.api_url == "https://chat.example.org:8400"
    assert programs.api().environ["VARDE_RELAY_URL"] == "wss://chat.example.org:8401/v1/relay"
    assert programs.api().environ["VARDE_API_TLS_KEY"] == programs.relay().environ["VARDE_RELAY_TLS_KEY"] == "/k"
    assert Programs(settings, Address("::", 1), Address("::", 2)).api_url.endswith("chat.example.org:1")
    six = SystemSettings.from_environ({}, public="fd00::1", api_bind="[::]:1", relay_bind="[::]:2", together=True)
    assert Programs(six, six.api_bind, six.relay_bind).relay_url == "ws://[fd00::1]:2/v1/relay"


def test_a_certificate_of_ones_own_is_used_for_both() -> None:
    """Given on the command line, or in the environment for each: what is missing of them is made."""
    pair = Path("/own/chain.pem"), Path("/own/key.pem")
    settings = SystemSettings.from_environ({}, public="a.example", certificate=pair, together=True)
    assert (settings.tls, settings.api_tls) == (True, True)
    assert (
        settings.environ["VARDE_RELAY_TLS_CERTIFICATE"] == settings.environ["VARDE_API_TLS_CERTIFICATE"] == str(pair[0])
    )
    half = {"VARDE_RELAY_TLS_CERTIFICATE": "/r.pem", "VARDE_RELAY_TLS_KEY": "/r.key"}
    made = SystemSettings.from_environ(half, public="a.example", together=True).with_certificates(TlsFiles(*pair))
    assert made.environ["VARDE_RELAY_TLS_KEY"] == "/r.key"
    assert made.environ["VARDE_API_TLS_KEY"] == str(pair[1])
