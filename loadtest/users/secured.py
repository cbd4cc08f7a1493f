"""TLS of one line, without a socket."""

import ssl
from contextlib import suppress
from typing import Final

from loadtest.framing import ServerFault

_CHUNK: Final = 65_536


class Secured:
    """Ciphertext in, plaintext out, and the other way; `take` is what must be sent for TLS's own sake."""

    __slots__ = ("_incoming", "_outgoing", "_tls", "shaken")

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self.shaken = False
        with suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()

    def take(self) -> bytes:
        """Return what is to be sent now."""
        return self._outgoing.read()

    def seal(self, plain: bytes) -> bytes:
        """Return the records for these bytes. Only once `shaken`."""
        self._tls.write(plain)
        return self._outgoing.read()

    def feed(self, received: bytes) -> bytes:
        """Take what came and return what it says. Raises ServerFault."""
        self._incoming.write(received)
        plain = []
        try:
            if not self.shaken:
                self._tls.do_handshake()
                self.shaken = True
            while piece := self._tls.read(_CHUNK):
                plain.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as failure:
            raise ServerFault(f"TLS failed: {failure.reason}") from None
        return b"".join(plain)
