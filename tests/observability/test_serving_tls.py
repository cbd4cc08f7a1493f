"""The operators' port with TLS of both sides: who has no certificate of the authority gets nothing."""

import ssl
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import trio

from chaos.certificates import Authority, ecdsa_key, issue, pem_of, write_pair
from observability.definition import Page
from observability.serving import start_metrics
from settings.environment import ConfigError
from settings.tls import METRICS, TlsFiles, read_metrics_tls
from storage.program import read_clock
from tls.certificate import CertificateError, TlsCertificate

REQUEST = b"GET /v1/health HTTP/1.1\r\n\r\n"


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Of servers and of their clients, as inside one fleet."""
    return Authority()


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> TlsFiles:
    """What a program is told."""
    (tmp_path / "ca.pem").write_bytes(authority.pem())
    return TlsFiles(*issue(authority, tmp_path), tmp_path / "ca.pem", METRICS)


@pytest.fixture
def certificate(files: TlsFiles) -> TlsCertificate:
    """What it serves with."""
    return TlsCertificate(files, read_clock)


async def _render(*, openmetrics: bool) -> Page:
    await trio.lowlevel.checkpoint()
    raise AssertionError(openmetrics)


async def _ready() -> Sequence[str]:
    await trio.lowlevel.checkpoint()
    return ()


@pytest.fixture
async def port(certificate: TlsCertificate) -> AsyncIterator[int]:
    """The port."""
    async with trio.open_nursery() as nursery:
        serve = partial(start_metrics, tls=certificate.make_context, strict=True)
        address = await serve(("127.0.0.1", 0), _render, _ready, nursery)
        yield int(address.rpartition(":")[2])
        nursery.cancel_scope.cancel()


def client(authority: Authority, folder: Path, signed_by: Authority | None) -> ssl.SSLContext:
    """Prometheus's side, with a certificate of somebody or with none."""
    context = authority.trusting()
    if signed_by is not None:
        folder = folder / "client"
        folder.mkdir()
        context.load_cert_chain(*issue(signed_by, folder))
    return context


async def ask(port: int, context: ssl.SSLContext | None) -> bytes:
    """Ask whether it lives; what comes until the end, or nothing when it does not come to that."""
    stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", port)
    if context is not None:
        stream = trio.SSLStream(stream, context, server_hostname="127.0.0.1", https_compatible=True)
    answer = b""
    async with stream:
        try:
            await stream.send_all(REQUEST)
            while received := await stream.receive_some():
                answer += received
        except trio.BrokenResourceError:
            return b""
    return answer


async def test_who_has_a_certificate_is_answered(port: int, authority: Authority, tmp_path: Path) -> None:
    """Prometheus, and whoever else operates this fleet."""
    assert (await ask(port, client(authority, tmp_path, authority))).endswith(b"alive\n")


@pytest.mark.parametrize("who", ["stranger", "nobody", "plain"])
async def test_everybody_else_gets_nothing(port: int, authority: Authority, tmp_path: Path, who: str) -> None:
    """Neither with another authority's certificate, nor without one, nor in plain text; and the port goes on."""
    signed_by = {"stranger": Authority()}.get(who)
    context = None if who == "plain" else client(authority, tmp_path, signed_by)
    assert b"alive" not in await ask(port, context)
    (tmp_path / "known").mkdir()
    assert b"alive" in await ask(port, client(authority, tmp_path / "known", authority))


async def test_a_renewed_certificate_is_shown(
    port: int, certificate: TlsCertificate, authority: Authority, tmp_path: Path
) -> None:
    """And so is a new authority of clients: those of the old one are refused from then on."""
    known, other, key = client(authority, tmp_path, authority), Authority(), ecdsa_key()
    write_pair(tmp_path, authority.certify(key), pem_of(key))
    (tmp_path / "ca.pem").write_bytes(other.pem())
    assert b"alive" in await ask(port, known)
    certificate.reload()
    assert b"alive" not in await ask(port, known)


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_an_authority_that_cannot_be_read_is_one_line(files: TlsFiles, content: bytes | None) -> None:
    """It names its own variable: two other files beside it are all right."""
    assert files.client_ca is not None
    files.client_ca.unlink()
    if content is not None:
        files.client_ca.write_bytes(content)
    with pytest.raises(CertificateError, match=r"^VARDE_METRICS_TLS_CLIENT_CA: "):
        TlsCertificate(files, read_clock)


def test_all_three_or_none() -> None:
    """A port that is encrypted and open to everybody is not what anybody wanted."""
    told = {name: f"/etc/{name}" for name in METRICS}
    assert read_metrics_tls({}) is None
    certificate, key, client_ca = (Path(told[name]) for name in METRICS)
    assert read_metrics_tls(told) == TlsFiles(certificate, key, client_ca, METRICS)
    for missing in METRICS:
        with pytest.raises(ConfigError, match=f"needs {missing} beside it"):
            read_metrics_tls({name: value for name, value in told.items() if name != missing})
