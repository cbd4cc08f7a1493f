"""Certificates of an authority that nobody else trusts. None of them lasts long."""

import ipaddress
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

NAME: Final = "relay.test"
HERE: Final = ipaddress.ip_address("127.0.0.1")
DAY: Final = timedelta(days=1)


def ecdsa_key() -> PrivateKey:
    """A key of the kind that the docs recommend."""
    return ec.generate_private_key(ec.SECP256R1())


def pem_of(key: PrivateKey, encryption: KeySerializationEncryption | None = None) -> bytes:
    """A key as it lies in a file."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


class Authority:
    """A certificate authority."""

    def __init__(self) -> None:
        self._key = ecdsa_key()
        self._name = _name("Varde test authority")
        builder = _builder(self._name, self._name, self._key, datetime.now(UTC), 2 * DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self._certificate = builder.add_extension(_signing(), critical=True).sign(self._key, hashes.SHA256())

    def pem(self) -> bytes:
        """Its own certificate: what a client trusts."""
        return self._certificate.public_bytes(Encoding.PEM)

    def certify(
        self, key: PrivateKey, *, name: str = NAME, age: timedelta = timedelta(0), life: timedelta = DAY
    ) -> bytes:
        """A certificate for this machine and `relay.test`, that began `age` ago (and a minute: clocks differ).

        `name` is the subject's, which servers go by for their clients.
        """
        here = x509.SubjectAlternativeName([x509.DNSName(NAME), x509.IPAddress(HERE)])
        builder = _builder(_name(name), self._name, key, datetime.now(UTC) - age, life)
        ours = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(here, critical=False).add_extension(ours, critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def trusting(self, **changes: object) -> ssl.SSLContext:
        """A client's side that trusts this authority and no other; `changes` are attributes of the context."""
        context = ssl.create_default_context(cadata=self.pem().decode())
        for name, value in changes.items():
            setattr(context, name, value)
        return context


def write_pair(folder: Path, certificate: bytes, key: bytes, *, mode: int = 0o600) -> tuple[Path, Path]:
    """Put a certificate and a key into a folder as renewing programs do: by renaming."""
    for name, text in (("chain.pem", certificate), ("key.pem", key)):
        fresh = folder / f".{name}"
        fresh.write_bytes(text)
        fresh.chmod(mode)
        fresh.rename(folder / name)
    return folder / "chain.pem", folder / "key.pem"


def issue(
    authority: Authority,
    folder: Path,
    make_key: Callable[[], PrivateKey] = ecdsa_key,
    *,
    name: str = NAME,
    life: timedelta = DAY,
) -> tuple[Path, Path]:
    """Make a key, have it certified, and put both into a folder, which is made if need be."""
    key = make_key()
    folder.mkdir(exist_ok=True)
    return write_pair(folder, authority.certify(key, name=name, life=life), pem_of(key))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _signing() -> x509.KeyUsage:
    return x509.KeyUsage(
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


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, since: datetime, life: timedelta
) -> x509.CertificateBuilder:
    began = since - timedelta(minutes=1)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    return builder.not_valid_before(began).not_valid_after(began + life)
