"""A certificate that nobody vouches for but its own key: for one run of a program on this machine."""

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

_PLACES: Final = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
_CLOCKS: Final = timedelta(hours=1)
"""It began so long ago: clocks differ."""
_DAY: Final = timedelta(days=1)


def make_self_signed() -> tuple[bytes, bytes]:
    """Return a certificate for localhost, good for a day, and its key (P-256), both as PEM."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name, number = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")]), x509.random_serial_number()
    builder = x509.CertificateBuilder(name, name, key.public_key(), number, now - _CLOCKS, now + _DAY)
    builder = builder.add_extension(x509.SubjectAlternativeName(_PLACES), critical=False)
    # Whoever trusts it takes it for its own authority.
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM), private
