"""`varde up --public NAME` from another address of this machine, and `--api-bind 0.0.0.0` without it."""

import json
import re
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.supervisor.real_system import open_real_system

pytestmark = pytest.mark.xdist_group("real-system")
NAME = "127.0.1.9"
"""An address of this machine that nobody listens at by name."""
EVERYWHERE = "0.0.0.0:0", "0.0.0.0:0"


def test_others_come_in_with_tls_and_are_told_what_to_trust(tmp_path: Path) -> None:
    """The words that `varde up` prints are all that a person on another machine needs."""
    with open_real_system(tmp_path / "my data", EVERYWHERE, "--public", NAME) as system:
        system.wait_line("Ctrl-C stops everything")
        shown = "".join(system.lines)
        assert system.ready["api"].startswith(f"https://{NAME}:")
        assert system.ready["relay"].startswith(f"wss://{NAME}:")
        authority = str(tmp_path / "my data" / "tls" / NAME / "authority.pem")
        assert f"SSL_CERT_FILE='{authority}'" in shown
        assert re.search(r"\b([0-9A-F]{2}:){31}[0-9A-F]{2}\b", shown)
        assert str(system.data / "outbox") in shown
        home = ("--home", str(tmp_path / "home"))
        words = "signup", *home, "--email", "anna@example.org"
        told = system.run(*words, "--request-only", code=1)
        assert "its certificate is not trusted" in told
        assert "SSL_CERT_FILE" in told
        told = system.run(*words, "--request-only", code=1, SSL_CERT_FILE="/nowhere.pem")
        assert "SSL_CERT_FILE names /nowhere.pem" in told
        port = urlsplit(system.ready["api"]).port
        other = f"https://127.0.1.10:{port}"
        told = system.run(*words, "--api", other, "--request-only", code=1, SSL_CERT_FILE=authority)
        assert "its certificate is for another name" in told
        told = system.run(*words, "--api", f"http://127.0.0.1:{port}", "--request-only", code=1)
        assert "write https://" in told
        system.run(*words, "--request-only", SSL_CERT_FILE=authority)
        code = system.code_for("anna@example.org")
        system.run(*words, "--code", code, SSL_CERT_FILE=authority)
        assert "sent as number" in system.run("send", "self", "hei", *home, SSL_CERT_FILE=authority)


def test_a_client_is_sent_to_the_relay_by_the_way_it_came(tmp_path: Path) -> None:
    """Who reaches the API at an address of the LAN is not sent to 127.0.0.1."""
    with open_real_system(tmp_path / "data", ("0.0.0.0:0", "0.0.0.0:0")) as system:
        api, relay = urlsplit(system.ready["api"]), urlsplit(system.ready["relay"])
        assert api.hostname == relay.hostname == "127.0.0.1"
        for host in ("127.0.0.1", "127.0.1.9", "localhost"):
            with urllib.request.urlopen(f"http://{host}:{api.port}/v1/relay") as answer:
                assert json.load(answer)["url"] == f"ws://{host}:{relay.port}/v1/relay"
