"""The script that makes certificates: both sides of a line believe each other, and nobody else."""

import ssl
import subprocess
from pathlib import Path
from typing import Final

import pytest

from settings.tls import METRICS, TlsFiles
from storage.program import read_clock
from tests.house import tree
from tests.system import require
from tests.tls.client import TlsClient, handshake
from tls.certificate import TlsCertificate
from tls.connection import TlsFault

SCRIPT: Final = tree.ROOT / "deploy" / "tls" / "certificates.sh"


def make(folder: Path, *names: str) -> Path:
    """Run it."""
    require("openssl", "openssl")
    subprocess.run((SCRIPT, folder, *names), check=True, stdout=subprocess.DEVNULL)
    return folder


def speak(server: Path, client: Path, name: str) -> bytes:
    """Have a program serve with the pair `relay`, and Prometheus come with its own."""
    files = TlsFiles(server / "relay.pem", server / "relay.key", server / "ca.pem", METRICS)
    tls = TlsCertificate(files, read_clock).make_tls()
    context = ssl.create_default_context(cafile=client / "ca.pem")
    context.load_cert_chain(client / "prometheus.pem", client / "prometheus.key")
    peer = TlsClient(context, name)
    handshake(tls, peer)
    return tls.receive(peer.send(b"hei"))


@pytest.mark.parametrize("name", ["relay1.internal", "cafe.de", "10.0.0.11", "::1"])
def test_both_sides_believe_each_other(tmp_path: Path, name: str) -> None:
    """By the host and the address that were named; made again, there is another pair of the same authority."""
    folder = make(tmp_path / "tls", "relay=relay1.internal,cafe.de,10.0.0.11,::1", "prometheus")
    authority, before = (folder / "ca.pem").read_bytes(), (folder / "prometheus.pem").read_bytes()
    make(folder, "prometheus")
    assert (folder / "ca.pem").read_bytes() == authority
    assert (folder / "prometheus.pem").read_bytes() != before
    assert speak(folder, folder, name) == b"hei"
    assert not [path for path in folder.iterdir() if path.stat().st_mode & 0o077]


def test_nobody_else_is_believed(tmp_path: Path) -> None:
    """Neither another authority's client, nor a server under another name."""
    folder, other = (make(tmp_path / each, "relay=relay1.internal", "prometheus") for each in ("ours", "theirs"))
    (other / "ca.pem").write_bytes((folder / "ca.pem").read_bytes())
    with pytest.raises(TlsFault, match="certificate"):
        speak(folder, other, "relay1.internal")
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
        speak(folder, folder, "relay2.internal")
