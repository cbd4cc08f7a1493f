"""TLS around a dialect, without a socket: the same client over `wss`."""

import ssl
from contextlib import suppress
from typing import Final

from bench.durable.dialect import Dialect
from loadtest.client.websocket import ServerFault

_CHUNK: Final = 65_536
_NAME: Final = "localhost"


class TlsDialect:
    """Another dialect's bytes, in TLS."""

    __slots__ = ("_incoming", "_inner", "_outgoing", "_secured", "_tls")

    def __init__(self, inner: Dialect, context: ssl.SSLContext) -> None:
        self._inner = inner
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=_NAME)
        self._secured = False

    @property
    def live(self) -> bool:
        """Whether the dialect is."""
        return self._inner.live

    @property
    def owes(self) -> bool:
        """Whether the dialect does."""
        return self._inner.owes

    def open(self) -> bytes:
        """Return the beginning of the TLS handshake."""
        with suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        return self._outgoing.read()

    def feed(self, received: bytes) -> bytes:
        """Take what was received; return what TLS and the dialect have to say to it."""
        self._incoming.write(received)
        try:
            if not self._secured:
                self._tls.do_handshake()
                self._secured = True
                self._tls.write(self._inner.open())
            while plain := self._tls.read(_CHUNK):
                reply = self._inner.feed(plain)
                if reply:
                    self._tls.write(reply)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as failure:
            raise ServerFault(f"TLS failed: {failure.reason}") from failure
        return self._outgoing.read()

    def send(self, payload: bytes) -> bytes:
        """Return the dialect's message."""
        return self._sealed(self._inner.send(payload))

    def confirm(self) -> bytes:
        """Return the dialect's confirmation."""
        return self._sealed(self._inner.confirm())

    def leave(self) -> bytes:
        """Return the dialect's good-bye."""
        return self._sealed(self._inner.leave())

    def _sealed(self, octets: bytes) -> bytes:
        self._tls.write(octets)
        return self._outgoing.read()
