"""A private authority for one name, and the certificate of `varde up --public NAME` that it signs.

Whoever trusts the authority trusts it for that name and for this machine's own, and nothing else (RFC 5280, section
4.2.1.10).
"""

import ipaddress
import os
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from settings.environment import ConfigError
from settings.tls import TlsFiles

FOLDER: Final = "tls"
AUTHORITY: Final = "authority.pem"
AUTHORITY_TIME: Final = timedelta(days=3650)
CERTIFICATE_TIME: Final = timedelta(days=397)
"""What Apple's systems take at most, even of authorities that a person has added."""
RENEWED_BEFORE: Final = timedelta(days=90)
SKEW: Final = timedelta(days=1)
"""Clocks on a LAN go wrong."""
_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_NAME_CHARACTERS: Final = 253
_HERE: Final = ("localhost", "127.0.0.1", "::1")


def check_name(text: str) -> str:
    """Return the name or address that others reach this machine by, in lower case. Raises ConfigError."""
    name = text.strip().strip("[]").removesuffix(".").lower()
    with suppress(ValueError):
        if "%" not in name:  # a zone means something on this machine alone
            return str(ipaddress.ip_address(name))
    try:
        name = name.encode("idna").decode() if not name.isascii() else name
    except UnicodeError:
        name = ""
    labels = name.split(".")
    # The last one of digits alone: an address with a slip in it.
    if len(name) > _NAME_CHARACTERS or not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdecimal():
        raise ConfigError(f"'{text}' is neither a name nor an address: write what others reach this machine by")
    return name


def make_files(data: Path, name: str, now: datetime | None = None) -> tuple[TlsFiles, Path]:
    """Return a certificate for the name, and the authority that clients are to trust; both are made where missing.

    The certificate is made again when its time is nearly over, under the same authority. Raises OSError, and
    ConfigError for files that are there and cannot be used.
    """
    now = datetime.now(UTC) if now is None else now
    folder = data / FOLDER / name.replace(":", "-")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths = folder / AUTHORITY, folder / "authority.key"
    files = TlsFiles(folder / "certificate.pem", folder / "certificate.key")
    try:
        if not all(path.exists() for path in paths) or _read(paths[0]).not_valid_after_utc - now < CERTIFICATE_TIME:
            _make_authority(name, paths, now)
            files.certificate.unlink(missing_ok=True)
        if not files.certificate.exists() or _read(files.certificate).not_valid_after_utc - now < RENEWED_BEFORE:
            _make_certificate(name, paths, files, now)
    except ValueError:
        raise ConfigError(
            f"what lies in {folder} is no certificate: move the folder away, and others are made"
        ) from None
    return files, paths[0]


def fingerprint_of(path: Path) -> str:
    """Return the SHA-256 fingerprint of a certificate, as OpenSSL writes it."""
    return _read(path).fingerprint(SHA256()).hex(":").upper()


def _make_authority(name: str, paths: tuple[Path, Path], now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Varde at {name}"[:64])])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(subject, subject, key.public_key(), now, AUTHORITY_TIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.NameConstraints([_permitted(each) for each in (name, *_HERE)], None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    _write_key(paths[1], key)
    _write(paths[0], certificate.public_bytes(Encoding.PEM), 0o644)


def _make_certificate(name: str, authority: tuple[Path, Path], files: TlsFiles, now: datetime) -> None:
    signer, key = _read(authority[0]), ec.generate_private_key(ec.SECP256R1())
    signing = load_pem_private_key(authority[1].read_bytes(), None)
    if not isinstance(signing, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{authority[1]} is another kind of key than we make")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    names = x509.SubjectAlternativeName([_general(each) for each in (name, *_HERE)])
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key())
    certificate = (
        _builder(subject, signer.subject, key.public_key(), now, CERTIFICATE_TIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .sign(signing, SHA256())
    )
    _write_key(files.key, key)
    _write(files.certificate, certificate.public_bytes(Encoding.PEM), 0o644)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, time: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + time)
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _permitted(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_network(name))
    except ValueError:
        return x509.DNSName(name)


def _read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    _write(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)


def _write(path: Path, content: bytes, mode: int) -> None:
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    draft.replace(path)
