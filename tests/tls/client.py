"""Clients of `tls.connection` in memory: OpenSSL's own, and one that seals records by hand to say what OpenSSL never
would.
"""

import ssl
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from chaos.certificates import NAME
from tls.connection import Tls

ALERT: Final = 21
HANDSHAKE: Final = 22
APPLICATION: Final = 23
KEY_UPDATE: Final = b"\x18\x00\x00\x01\x00"
"""A message of the handshake protocol that begins new keys (RFC 8446 section 4.6.3)."""
KEY_UPDATE_FOR_BOTH: Final = b"\x18\x00\x00\x01\x01"


class TlsClient:
    """A client's end, not connected to anything."""

    def __init__(self, context: ssl.SSLContext, name: str = NAME) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)

    def handshake(self) -> bytes:
        """Go on with the handshake as far as possible; return what to send."""
        with suppress(ssl.SSLWantReadError):
            self.object.do_handshake()
        return self._outgoing.read()

    def receive(self, sent: bytes) -> bytes:
        """Take in what the server wrote; return the plaintext."""
        self._incoming.write(sent)
        heard = []
        try:
            while piece := self.object.read(65_536):
                heard.append(piece)
        except ssl.SSLWantReadError:
            pass
        return b"".join(heard)

    def take(self, sent: bytes) -> None:
        """Take in what the server wrote in the middle of a handshake."""
        self._incoming.write(sent)

    def send(self, plaintext: bytes) -> bytes:
        """Return the records for a plaintext."""
        view, records = memoryview(plaintext), []
        while view:
            view = view[self.object.write(view) :]
            records.append(self._outgoing.read())
        return b"".join(records)

    def take_bytes(self) -> bytes:
        """Return what is still to be sent, such as an alert."""
        return self._outgoing.read()

    def close_notify(self) -> bytes:
        """Return close_notify."""
        with suppress(ssl.SSLWantReadError):
            self.object.unwrap()
        return self._outgoing.read()


def handshake(tls: Tls, peer: TlsClient) -> None:
    """Let both go through the whole handshake."""
    for _ in range(2):
        sent = peer.handshake()
        assert tls.receive(sent) == b""
        peer.take(tls.take_bytes())
    assert tls.established


class RecordForger:
    """Seals whatever it is given as the client of a connection that just began, with the secret it logged."""

    def __init__(self, key_log: Path, cipher: str) -> None:
        assert cipher == "TLS_AES_256_GCM_SHA384"
        lines = [line.split() for line in key_log.read_text().splitlines()]
        (secret,) = [line[2] for line in lines if line and line[0] == "CLIENT_TRAFFIC_SECRET_0"]
        self._begin(bytes.fromhex(secret))

    def record(self, content: bytes, kind: int, padding: int = 0) -> bytes:
        """One record that says what it carries is of this kind (RFC 8446 section 5.2)."""
        inner = content + bytes([kind]) + bytes(padding)
        head = struct.pack("!BHH", APPLICATION, 0x0303, len(inner) + 16)
        nonce = (int.from_bytes(self._iv) ^ self._number).to_bytes(12)
        self._number += 1
        return head + AESGCM(self._key).encrypt(nonce, inner, head)

    def update(self, message: bytes = KEY_UPDATE) -> bytes:
        """The record that begins new keys; what follows is sealed with them (RFC 8446 section 7.2)."""
        record = self.record(message, HANDSHAKE)
        self._begin(_expand(self._secret, b"traffic upd", 48))
        return record

    def _begin(self, secret: bytes) -> None:
        self._secret, self._number = secret, 0
        self._key, self._iv = _expand(secret, b"key", 32), _expand(secret, b"iv", 12)


def _expand(secret: bytes, label: bytes, length: int) -> bytes:
    # HKDF-Expand-Label without a context, RFC 8446 section 7.1.
    name = b"tls13 " + label
    wanted = struct.pack("!HB", length, len(name)) + name + b"\0"
    return HKDFExpand(hashes.SHA384(), length, wanted).derive(secret)
