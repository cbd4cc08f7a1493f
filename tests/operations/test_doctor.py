"""`varde doctor`: what is right is said, what is wrong is named with what to do, and secrets are never shown."""

import resource
import socket
from datetime import timedelta
from pathlib import Path

import pytest
import trio

from chaos.certificates import Authority, issue
from operations.doctor import Finding, Health, examine
from settings.tls import METRICS
from storage.keys import make_keys
from tests.postgres import url_of


async def findings(environ: dict[str, str], mail_to: str | None = None) -> dict[str, Finding]:
    """What it says, by part."""
    found: list[Finding] = []
    healthy = await examine(environ, mail_to, found.append)
    assert healthy == all(each.health is not Health.BAD for each in found)
    return {each.what: each for each in found}


async def test_a_healthy_server(tmp_path: Path, database_url: str) -> None:
    """Database, schema, clocks, keys and ports; what is fit for one machine only is a warning."""
    make_keys(tmp_path / "keys")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # a login's may be 1024, which is right to warn of
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 10_000)), hard))
    found = await findings(
        {
            "VARDE_DATA": str(tmp_path),
            "VARDE_DATABASE_URL": url_of("varde_api", database_url),
            "VARDE_API_BIND": "127.0.0.1:0",
            "VARDE_RELAY_BIND": "127.0.0.1:0",
            "VARDE_RELAY_CONNECTIONS": "10",
        }
    )
    assert {what: each.health for what, each in found.items()} == {
        "database": Health.OK,
        "certificates": Health.OK,
        "keys": Health.OK,
        "ports": Health.OK,
        "open files": Health.OK,
        "relay URL": Health.WARNING,
        "mail server": Health.WARNING,
    }
    assert "schema up to date" in found["database"].text


async def test_what_is_wrong_is_named(tmp_path: Path, bare_database_url: str) -> None:
    """No schema, no keys, a taken port, a relay without TLS, a mail server that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and does not listen
        found = await findings(
            {
                "VARDE_DATA": str(tmp_path),
                "VARDE_DATABASE_URL": bare_database_url,
                "VARDE_API_BIND": f"127.0.0.1:{taken.getsockname()[1]}",
                "VARDE_RELAY_BIND": "127.0.0.1:0",
                "VARDE_RELAY_CONNECTIONS": "900000000",
                "VARDE_RELAY_URL": "ws://relay.example/v1/relay",
                "VARDE_SMTP_URL": f"smtp://127.0.0.1:{held.getsockname()[1]}?tls=none",
                "VARDE_MAIL_FROM": "codes@example.org",
            },
            mail_to="somebody@example.org",
        )
    assert "varde migrate" in found["database"].text
    assert found["keys"].health is Health.BAD
    assert found["ports"].health is Health.WARNING
    assert "ulimit" in found["open files"].text
    assert found["relay URL"].health is Health.BAD
    assert found["mail server"].health is found["test mail"].health is Health.BAD
    assert not [each for each in found.values() if "somebody" in each.text]


async def test_a_program_that_may_do_everything_is_named(tmp_path: Path, database_url: str) -> None:
    """It works, and whoever breaks into it has the whole database."""
    found = await findings({"VARDE_DATA": str(tmp_path), "VARDE_DATABASE_URL": database_url})
    assert found["database"].health is Health.WARNING
    assert "a user of its own" in found["database"].text


def certificates(folder: Path, life: timedelta = timedelta(days=90)) -> dict[str, str]:
    """Settings with a certificate for each line."""
    certificate, key = issue(Authority(), folder, life=life)
    metrics = dict(zip(METRICS, (certificate, key, certificate), strict=True))
    return {name: str(path) for name, path in metrics.items()} | {
        "VARDE_DATABASE_URL": f"postgresql://varde@127.0.0.1:1/varde?sslcert={certificate}&sslkey={key}",
        "VARDE_BUS_URL": f"rediss://127.0.0.1:1?ca={certificate}&certificate={certificate}&key={key}",
    }


async def test_certificates_are_looked_at(tmp_path: Path) -> None:
    """Of every line: how long they last, whether a key is its certificate's, and who can use it."""
    told = {"VARDE_DATA": str(tmp_path), **certificates(tmp_path / "tls")}
    assert (await findings(told))["certificates"].text == "4, the first ends in 89 days"
    for name in ("VARDE_DATABASE_URL", "VARDE_BUS_URL"):
        other, _ = issue(Authority(), tmp_path / "other")
        text = told[name].replace(f"certificate={tmp_path}/tls/chain.pem", f"certificate={other}")
        text = text.replace(f"sslcert={tmp_path}/tls/chain.pem", f"sslcert={other}")
        found = (await findings(told | {name: text}))["certificates"]
        assert (found.health, found.text.partition(":")[0]) == (Health.BAD, name)
    (tmp_path / "tls" / "key.pem").chmod(0o604)
    assert "everybody" in (await findings(told))["certificates"].text
    (tmp_path / "tls" / "key.pem").unlink()
    assert (await findings(told))["certificates"].health is Health.BAD
    soon = {"VARDE_DATA": str(tmp_path), **certificates(tmp_path / "soon", timedelta(days=3))}
    assert (await findings(soon))["certificates"].health is Health.WARNING


async def test_a_password_is_not_shown(tmp_path: Path) -> None:
    """Whatever the database says about it."""
    url = "postgresql://varde:a-secret@127.0.0.1:1/varde"
    found = await findings({"VARDE_DATA": str(tmp_path), "VARDE_DATABASE_URL": url})
    assert found["database"].health is Health.BAD
    assert "a-secret" not in str(found)


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is asked for outside of this machine."""

    async def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        await trio.lowlevel.checkpoint()
        return [(None, None, None, None, ("192.0.2.1", port))]

    monkeypatch.setattr(trio.socket, "getaddrinfo", resolve)
