"""A certificate for one run on this machine: the server shows it, and the load trusts it and nothing else."""

import ssl
from pathlib import Path

from msgspec import Struct

from tls.self_signed import make_self_signed


class Certificate(Struct, frozen=True):
    """Two PEM files."""

    certificate: Path
    key: Path


def trust(certificate: Path) -> ssl.SSLContext:
    """Return a client's side of TLS 1.3, which trusts this certificate and nothing else."""
    context = ssl.create_default_context(cafile=str(certificate))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def make_certificate(folder: Path) -> Certificate:
    """Write a key and a certificate signed with it into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    files, (certificate, key) = Certificate(folder / "server.crt", folder / "server.pem"), make_self_signed()
    files.certificate.write_bytes(certificate)
    files.key.touch(mode=0o600)  # servers may refuse a key that others can read
    files.key.write_bytes(key)
    return files
