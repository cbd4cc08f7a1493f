"""TLS 1.3 as a sans-I/O core: ciphertext in, plaintext out, and back (RFC 8446). A server's side, or a client's."""

import ssl
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from varde_contract.errors import PeerFault

RECORD_BYTES: Final = 16_384
"""The most plaintext that one record carries (RFC 8446 section 5.1)."""
HEAD_BYTES: Final = 5
"""Of a record: type, version, length (section 5.1)."""
WHOLE_BYTES: Final = HEAD_BYTES + RECORD_BYTES + 256
"""The largest record (section 5.2)."""
KINDS: Final = range(20, 24)
"""The first byte of a record (section 5.1). Other protocols begin with other bytes."""
SILENT_BYTES: Final = 32_768
SILENT_RECORD: Final = 256
"""Added for each record without plaintext, when those are counted against SILENT_BYTES for the life of a connection.
A handshake takes 3,000. The rest is for key updates, which honest peers send rarely: each is 20 us of work for 27
bytes, and a megabyte of them would block the node for a second."""
GROUP: Final = "X25519"
"""The one key exchange. OpenSSL's default list has finite fields too, where the first 2 KiB of a stranger cost 120 ms.
Every client of ours has X25519, since Noise needs it."""
ALPN: Final = "http/1.1"


class TlsFault(PeerFault):
    """The peer broke TLS, or speaks another protocol. Nothing can be sent to it any more but what `take_bytes` has."""


class Buffers(NamedTuple):
    """What all connections of one thread share: OpenSSL reads from one and writes to the other.

    Both are empty between two calls, so one pair is enough. A pair for each connection would stay as large as the
    largest message that ever passed through it: measured, a connection takes 14 KiB instead of 16 to 102.
    """

    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO


def open_buffers() -> Buffers:
    """Return a fresh pair."""
    return Buffers(ssl.MemoryBIO(), ssl.MemoryBIO())


class ClientAuthorityError(ValueError):
    """The file with the authority of clients cannot be used."""


def make_context(chain: Path, key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    """Return what a server's connections are made from, with a certificate chain and its private key (PEM).

    With `client_ca` (PEM), a client without a certificate of that authority is refused.

    Raises OSError when a file cannot be read, ssl.SSLError (one, too) when they do not hold what they should, and
    ValueError when the key is encrypted: a server has nobody to ask for a passphrase.
    """
    # Not create_default_context: it writes session keys to the file that SSLKEYLOGFILE names.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_ecdh_curve(GROUP)
    context.set_alpn_protocols([ALPN])
    # No resumption. With an ECDSA key a full handshake costs 240 us and a resumed one 295, with the new ticket that it
    # needs. And ticket keys would have to be stored and rotated.
    context.num_tickets = 0
    context.load_cert_chain(chain, key, password=_no_password)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError:
            raise ClientAuthorityError("there is no certificate (PEM) in the file") from None
        except OSError as error:
            raise ClientAuthorityError(error.strerror) from None
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted")


class Tls:
    """One connection's TLS. Plain functions, to be called from one thread.

    Takes about 14 KiB of memory, nearly all of it OpenSSL's. What `receive`, `seal` and `close` return or leave in
    `take_bytes` has to be written in the order of the calls.
    """

    __slots__ = (
        *("_closed", "_incoming", "_object", "_outgoing", "_partial", "_read", "_silent", "_waiting", "_write"),
        *("ended", "established"),
    )

    def __init__(self, context: ssl.SSLContext, buffers: Buffers, *, server: str | None = None) -> None:
        """With `server`, the name of one, this is a client's side, and `begin` is to be called first."""
        self._incoming, self._outgoing = buffers
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server is None, server_hostname=server
        )
        self._read, self._write = self._object.read, self._object.write
        self._partial = self._waiting = b""
        self._silent = 0
        self._closed = False
        self.established = False
        """Whether the handshake is over, and `seal` may be called."""
        self.ended = False
        """Whether nothing more comes from the peer, after close_notify, the end of its stream, or a fault."""

    @property
    def begun(self) -> bool:
        """Whether anything has come."""
        return bool(self._partial) or self._silent > 0

    def begin(self) -> bytes:
        """Return what a client says first."""
        with suppress(ssl.SSLWantReadError):
            self._object.do_handshake()
        self._settle()
        return self.take_bytes()

    def receive(self, received: bytes) -> bytes:
        """Take in what came from the socket, b"" for the end of its stream, and return the plaintext in it.

        Drops what comes after the end. Raises TlsFault; then `take_bytes` has the alert.
        """
        if self.ended or not received:
            self.ended = True
            return b""
        if self._partial:
            received = self._partial + received
        try:
            return self._take_records(received)
        except OSError as fault:  # mostly ssl.SSLError
            raise self._fail(_reason(fault)) from None
        finally:
            self._settle()

    def seal(self, plaintext: bytes) -> bytes:
        """Return the records to write for a plaintext of any size; b"" before the handshake is over, and at the end."""
        if self._closed or not self.established:
            return b""
        written = self._write(plaintext)
        sealed = self._outgoing.read()
        if written == len(plaintext) and not self._waiting:
            return sealed
        # What TLS wrote by itself goes first: it was encrypted first, and records are numbered (RFC 8446 section 5.3).
        return self.take_bytes() + sealed + self._seal_rest(memoryview(plaintext)[written:])

    def take_bytes(self) -> bytes:
        """Return what TLS itself has to write: parts of the handshake, alerts."""
        waiting, self._waiting = self._waiting, b""
        return waiting

    def close(self) -> bytes:
        """Return what to write before the end of the stream: close_notify (RFC 8446 section 6.1), once.

        The peer may still send, and `receive` take it in.
        """
        if not self._closed and self.established:
            with suppress(ssl.SSLError):  # OpenSSL wants the peer's close_notify; section 6.1 does not require that
                self._object.unwrap()
            self._settle()
        self._closed = True
        return self.take_bytes()

    def _take_records(self, received: bytes) -> bytes:
        # Record by record, so that those without plaintext can be counted. An incomplete record waits here.
        begin, end, pieces = 0, len(received), []
        while begin + HEAD_BYTES <= end and not self.ended:
            after = begin + HEAD_BYTES + (received[begin + 3] << 8 | received[begin + 4])
            if after > end:
                break
            piece = self._take_record(received if after - begin == end else received[begin:after])
            if piece:
                pieces.append(piece)
            begin = after
        self._partial = b"" if self.ended else received[begin:]
        if self._partial:
            self._judge_partial()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _take_record(self, record: bytes) -> bytes:
        self._incoming.write(record)
        try:
            if self.established:
                piece = self._read(RECORD_BYTES)
                self.ended = not piece  # close_notify
                return piece
            self._object.do_handshake()
            self.established = True
        except ssl.SSLWantReadError:
            pass  # a record without plaintext
        except ssl.SSLZeroReturnError:
            self.ended = True  # close_notify after ours
        self._silent += SILENT_RECORD + len(record)
        if self._silent > SILENT_BYTES:
            raise self._fail("TOO_MUCH_SILENCE")
        return b""

    def _judge_partial(self) -> None:
        # This is no record, so do not wait for the rest of it. OpenSSL makes the right alert for it.
        head = self._partial[:HEAD_BYTES]
        if head[0] not in KINDS or (len(head) == HEAD_BYTES and int.from_bytes(head[3:]) > WHOLE_BYTES - HEAD_BYTES):
            self._take_record(self._partial)
            raise self._fail("NO_RECORD")

    def _seal_rest(self, plaintext: memoryview) -> bytes:
        pieces = []
        while plaintext:
            # CPython sets SSL_MODE_ENABLE_PARTIAL_WRITE: each call makes one record, however much it is given.
            plaintext = plaintext[self._write(plaintext) :]
            pieces.append(self._outgoing.read())
        return b"".join(pieces)

    def _settle(self) -> None:
        # The buffers are shared: no byte of one connection may be left for the next.
        if self._incoming.pending:
            self._incoming.read()
        if self._outgoing.pending:
            self._waiting += self._outgoing.read()

    def _fail(self, reason: str) -> TlsFault:
        self.ended = self._closed = True
        return TlsFault(f"the peer broke TLS: {reason}")


def _reason(fault: OSError) -> str:
    # That of a certificate says which of the many things is wrong with it, and names nobody but the server.
    why = getattr(fault, "verify_message", None) or getattr(fault, "reason", None)
    return why or type(fault).__name__
