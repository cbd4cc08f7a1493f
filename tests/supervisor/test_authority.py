"""The private authority of `varde up --public NAME`: whom it vouches for, how long, and how it is kept."""

import ssl
import stat
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trio

from settings.environment import ConfigError
from settings.tls import TlsFiles
from supervisor.authority import (
    AUTHORITY_TIME,
    CERTIFICATE_TIME,
    RENEWED_BEFORE,
    check_name,
    fingerprint_of,
    make_files,
)
from tls.certificate import TlsCertificate
from varde.errors import Unreachable
from varde.http import Http

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("chat.example.org", "chat.example.org"),
        ("CHAT.Example.Org.", "chat.example.org"),
        ("blåbær.no", "xn--blbr-roah.no"),
        ("nas", "nas"),
        ("192.168.1.20", "192.168.1.20"),
        ("[FD00::1]", "fd00::1"),
    ],
)
def test_a_name_is_read(typed: str, name: str) -> None:
    """A host's name in any script, or an address."""
    assert check_name(typed) == name


NO_NAMES = (
    *("", " ", "a b", "https://a.example", "a.example:8400", "192.168.1", "256.1.1.1", "-a.example", "a..b", "a/b"),
    *("*", "*.a", "a" * 64, ".".join(["a" * 60] * 5), "a_b", "[fd00::1%eth0]", "å" * 80, "../a", "a\nb", "a\0"),
)


@pytest.mark.parametrize("typed", NO_NAMES)
def test_what_is_no_name_is_refused(typed: str) -> None:
    """Before anything is made."""
    with pytest.raises(ConfigError):
        check_name(typed)


def test_files_are_made_once(tmp_path: Path) -> None:
    """Clients that trust the authority go on trusting it; keys are their owner's alone, and the folder too."""
    files, authority = make_files(tmp_path, "chat.example.org")
    before = authority.read_bytes(), files.certificate.read_bytes()
    again, same = make_files(tmp_path, "chat.example.org")
    assert (same.read_bytes(), again.certificate.read_bytes()) == before
    for key in (files.key, authority.with_name("authority.key")):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(authority.parent.stat().st_mode) == 0o700
    assert len(fingerprint_of(authority)) == 95
    # The servers take it: the key is the certificate's, and nobody else can read it.
    TlsCertificate(files, lambda: round(datetime.now(UTC).timestamp() * 1_000))


def test_a_certificate_is_renewed_under_the_same_authority(tmp_path: Path) -> None:
    """At a start in its last months; the authority itself when it could not vouch for a whole certificate."""
    files, authority = make_files(tmp_path, "nas", LONG_AGO)
    root, old = authority.read_bytes(), files.certificate.read_bytes()
    make_files(tmp_path, "nas", LONG_AGO + CERTIFICATE_TIME - RENEWED_BEFORE - timedelta(days=1))
    assert files.certificate.read_bytes() == old
    make_files(tmp_path, "nas", LONG_AGO + CERTIFICATE_TIME - RENEWED_BEFORE + timedelta(days=1))
    assert files.certificate.read_bytes() != old
    assert authority.read_bytes() == root
    make_files(tmp_path, "nas", LONG_AGO + AUTHORITY_TIME)
    assert authority.read_bytes() != root


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    """It is not made anew: somebody may have put theirs there."""
    _, authority = make_files(tmp_path, "nas")
    authority.write_text("nothing")
    with pytest.raises(ConfigError, match="move the folder away"):
        make_files(tmp_path, "nas")


async def reach(files: TlsFiles, host: str, monkeypatch: pytest.MonkeyPatch, authority: Path | None) -> Unreachable:
    """What a client says of a server with this certificate, which it reaches at a host of this machine."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    if authority is None:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    else:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))

    async def hang_up(stream: trio.abc.Stream) -> None:
        with trio.CancelScope() as scope:
            try:
                await stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            except trio.BrokenResourceError:
                scope.cancel()
        await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_ssl_over_tcp, hang_up, 0, context, host=host, https_compatible=True)
        (listener,) = await nursery.start(serve)
        port = listener.transport_listener.socket.getsockname()[1]
        async with Http(f"https://{host}:{port}") as http:
            with pytest.raises(Unreachable) as caught:
                await http.call("POST", "/", type(None))
        nursery.cancel_scope.cancel()
    return caught.value


@pytest.mark.parametrize(
    ("name", "made", "trusted", "said", "advice"),
    [
        ("127.0.0.1", None, True, "answered 404", ""),
        ("127.0.0.1", None, False, "is not trusted", "SSL_CERT_FILE"),
        ("127.0.0.1", LONG_AGO, True, "has expired", "renew it"),
        ("127.0.0.1", datetime(2090, 1, 1, tzinfo=UTC), True, "is not valid yet", "the clock"),
    ],
)
async def test_each_fault_has_words_of_its_own(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    made: datetime | None,
    trusted: bool,  # noqa: FBT001
    said: str,
    advice: str,
) -> None:
    """And says what to do."""
    files, authority = make_files(tmp_path, name, made)
    error = await reach(files, "127.0.0.1", monkeypatch, authority if trusted else None)
    assert said in str(error)
    assert advice in error.advice


async def test_a_certificate_for_another_name_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reaches the machine by an address that it was not made for."""
    files, authority = make_files(tmp_path, "127.0.0.1")
    error = await reach(files, "127.0.0.3", monkeypatch, authority)
    assert "for another name" in str(error)
    assert "by the name" in error.advice


async def test_the_authority_vouches_for_its_name_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever steals its key can pose as this server, and as nobody else to those who trust it."""
    _, authority = make_files(tmp_path, "chat.example.org")
    stolen = tmp_path / "tls" / "stolen.example"
    authority.parent.rename(stolen)
    (stolen / "certificate.pem").unlink()
    forged, same = make_files(tmp_path, "stolen.example")
    error = await reach(forged, "127.0.0.1", monkeypatch, same)
    assert "another name than its authority may vouch for" in str(error)
