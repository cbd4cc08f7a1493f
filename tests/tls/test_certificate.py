"""The certificate of a node: what is taken, what is refused and how, and how a new one comes."""

import logging
import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

from chaos.certificates import Authority, ecdsa_key, issue, pem_of, write_pair
from settings.environment import ConfigError
from settings.relay import RelaySettings
from settings.tls import TlsFiles
from storage.program import read_clock
from tests.tls.client import TlsClient, handshake
from tls.certificate import CertificateError, TlsCertificate, watch_certificates


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Whom the clients trust."""
    return Authority()


@pytest.fixture
def certificate(authority: Authority, tmp_path: Path) -> TlsCertificate:
    """A good one, read from files in the test's folder."""
    return TlsCertificate(TlsFiles(*issue(authority, tmp_path)), read_clock)


def shown(certificate: TlsCertificate, authority: Authority) -> bytes | None:
    """What a new connection is shown."""
    tls, peer = certificate.make_tls(), TlsClient(authority.trusting())
    handshake(tls, peer)
    return peer.object.getpeercert(binary_form=True)


def test_the_files_are_named_by_two_variables() -> None:
    """Both or neither, and the one that is there names the one that is missing."""
    both = {"VARDE_RELAY_TLS_CERTIFICATE": "/etc/chain.pem", "VARDE_RELAY_TLS_KEY": "/etc/key.pem"}
    assert RelaySettings.from_environ(both).tls == TlsFiles(Path("/etc/chain.pem"), Path("/etc/key.pem"))
    assert RelaySettings.from_environ(dict.fromkeys(both, "")).tls is None
    for name, other in zip(both, reversed(both), strict=True):
        with pytest.raises(ConfigError, match=f"{name} needs {other}"):
            RelaySettings.from_environ({name: both[name]})


@pytest.mark.parametrize("make_key", [ecdsa_key, lambda: rsa.generate_private_key(65_537, 2_048)])
def test_keys_of_both_usual_kinds_are_taken(
    authority: Authority, tmp_path: Path, make_key: Callable[[], CertificateIssuerPrivateKeyTypes]
) -> None:
    """ECDSA, which costs half, and RSA."""
    certificate = TlsCertificate(TlsFiles(*issue(authority, tmp_path, make_key)), read_clock)
    assert shown(certificate, authority)
    assert 0 < certificate.expires_in_s <= 86_400


Spoil = Callable[[Authority, Path], object]


def expired(authority: Authority, folder: Path) -> None:
    """A certificate of last week."""
    key = ecdsa_key()
    write_pair(folder, authority.certify(key, age=timedelta(days=7)), pem_of(key))


def early(authority: Authority, folder: Path) -> None:
    """A certificate of next week."""
    key = ecdsa_key()
    write_pair(folder, authority.certify(key, age=timedelta(days=-7)), pem_of(key))


def encrypted(authority: Authority, folder: Path) -> None:
    """A key that somebody would have to open."""
    key = ecdsa_key()
    write_pair(folder, authority.certify(key), pem_of(key, BestAvailableEncryption(b"secret")))


def open_to_all(authority: Authority, folder: Path) -> None:
    """A key that every program on the machine can read."""
    key = ecdsa_key()
    write_pair(folder, authority.certify(key), pem_of(key), mode=0o644)


SPOILT: list[tuple[Spoil, str]] = [
    (lambda _, folder: (folder / "chain.pem").unlink(), "TLS_CERTIFICATE: No such file or directory"),
    (lambda _, folder: (folder / "key.pem").unlink(), "TLS_KEY: No such file or directory"),
    (lambda _, folder: (folder / "chain.pem").write_text("secret"), "TLS_CERTIFICATE: there is no certificate"),
    (lambda _, folder: (folder / "chain.pem").write_bytes(b""), "TLS_CERTIFICATE: there is no certificate"),
    (lambda _, folder: (folder / "key.pem").write_text("secret"), "TLS_KEY: there is no private key"),
    (
        lambda _, folder: (folder / "key.pem").write_bytes(pem_of(ecdsa_key())[:60] + b"secret\n"),
        "TLS_KEY: OpenSSL does not take",
    ),
    (lambda _, folder: (folder / "key.pem").write_bytes(pem_of(ecdsa_key())), "TLS_KEY: the key is not the certi"),
    (expired, "TLS_CERTIFICATE: the certificate has expired"),
    (early, "TLS_CERTIFICATE: the certificate is not valid yet"),
    (encrypted, "TLS_KEY: the key is encrypted"),
    (open_to_all, "TLS_KEY: everybody on this machine can read the file"),
]


@pytest.mark.parametrize(("spoil", "expected"), SPOILT)
def test_what_cannot_be_used_is_refused_by_name(
    authority: Authority, tmp_path: Path, spoil: Spoil, expected: str
) -> None:
    """At the start it is one line with the variable and why; later, the old certificate stays and the same is sent."""
    files = TlsFiles(*issue(authority, tmp_path))
    certificate = TlsCertificate(files, read_clock)
    before = shown(certificate, authority)
    spoil(authority, tmp_path)
    with pytest.raises(CertificateError, match=f"^VARDE_RELAY_{expected}") as error:
        TlsCertificate(files, read_clock)
    assert "secret" not in str(error.value)
    certificate.reload()
    assert certificate.failure == str(error.value)
    assert certificate.reads == {"taken": 0, "refused": 1}
    assert shown(certificate, authority) == before


def test_new_files_are_for_new_connections(certificate: TlsCertificate, authority: Authority, tmp_path: Path) -> None:
    """Whoever is connected goes on, both ways, with what they began with."""
    tls, peer = certificate.make_tls(), TlsClient(authority.trusting())
    handshake(tls, peer)
    before = peer.object.getpeercert(binary_form=True)
    issue(authority, tmp_path)
    certificate.reload()
    after = shown(certificate, authority)
    assert after != before
    assert tls.receive(peer.send(b"still here")) == b"still here"
    assert peer.receive(tls.seal(b"so are we")) == b"so are we"
    assert (certificate.reads, certificate.failure) == ({"taken": 1, "refused": 0}, None)


def test_files_that_did_not_change_are_not_read(certificate: TlsCertificate, tmp_path: Path) -> None:
    """Looking costs two stats; only a signal has them read again all the same."""
    certificate.reload()
    assert certificate.reads["taken"] == 0
    certificate.reload(asked=True)
    assert certificate.reads["taken"] == 1


def test_a_renewal_in_two_steps_comes_through(
    certificate: TlsCertificate, authority: Authority, tmp_path: Path
) -> None:
    """Between the new chain and its key the two do not belong together; a moment later they do."""
    key = ecdsa_key()
    chain, new_key = authority.certify(key), pem_of(key)
    old_key = (tmp_path / "key.pem").read_bytes()
    write_pair(tmp_path, chain, old_key)
    certificate.reload()
    assert "the key is not the certificate's" in (certificate.failure or "")
    write_pair(tmp_path, chain, new_key)
    certificate.reload()
    assert not certificate.failure
    assert certificate.reads["taken"] == 1


def test_a_bad_file_is_tried_again_and_told_once(
    certificate: TlsCertificate, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A certificate that is not valid yet becomes so without anybody touching it; until then the log has one line."""
    early(authority, tmp_path)
    for _ in range(3):
        certificate.reload()
    assert certificate.reads["refused"] == 3
    assert caplog.text.count("not valid yet") == 1


async def test_a_signal_has_the_files_read(
    certificate: TlsCertificate, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """SIGHUP is for who is in a hurry; what is sent of it holds neither names of people nor keys."""
    caplog.set_level(logging.INFO)
    before, key = shown(certificate, authority), ecdsa_key()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_certificates, [certificate])
        await trio.testing.wait_all_tasks_blocked()
        write_pair(tmp_path, authority.certify(key), pem_of(key))
        os.kill(os.getpid(), signal.SIGHUP)
        while not certificate.reads["taken"]:  # noqa: ASYNC110 - a file is read in a thread, and nobody else waits for it
            await trio.sleep(0.01)  # between two looks at what has no event: the test's timeout is its deadline
        nursery.cancel_scope.cancel()
    assert shown(certificate, authority) != before
    assert "certificate read now, good for 0 days" in caplog.text
    assert "PRIVATE" not in caplog.text + repr(certificate)


async def test_renewed_files_are_noticed(certificate: TlsCertificate, authority: Authority, tmp_path: Path) -> None:
    """Nobody has to send a signal."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_certificates, [certificate], 0.01)
        issue(authority, tmp_path)
        while not certificate.reads["taken"]:  # noqa: ASYNC110 - as above
            await trio.sleep(0.01)  # as above: the test's timeout is its deadline
        nursery.cancel_scope.cancel()
