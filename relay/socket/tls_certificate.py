"""The node's TLS certificate, read again when its files change or at SIGHUP, while connections go on."""

import logging
import signal
import ssl
import stat
from collections.abc import Callable
from typing import Final, NamedTuple, NoReturn

import trio
from cryptography import x509

from relay.socket.tls import Tls, make_context, open_buffers
from settings.environment import ConfigError
from settings.relay import TLS_CERTIFICATE, TLS_KEY, TlsFiles

LOOK_SECONDS: Final = 60.0
"""Seconds between two looks at the files. The old certificate is usually good for weeks; SIGHUP is immediate."""
SECONDS_PER_DAY: Final = 86_400
TAKEN: Final = "taken"
REFUSED: Final = "refused"
MISMATCH: Final = "KEY_VALUES_MISMATCH"

_log: Final = logging.getLogger("varde.relay.tls")


class CertificateError(ConfigError):
    """The files cannot be used. The text names the variable of the wrong file and the reason, never its content."""


class TlsCertificate:
    """The current certificate. New connections get it by `make_tls`; established ones keep the one they began with."""

    def __init__(self, files: TlsFiles, clock: Callable[[], int]) -> None:
        """Read the files. `clock` counts milliseconds since the Unix epoch. Raises CertificateError."""
        self._files = files
        self._clock = clock
        self._buffers = open_buffers()
        self._stamp = _stamp(files)
        # Replaced by one assignment, in a thread: the main thread sees the old one or the new one, and needs no lock.
        self._shown = _load(files, clock())
        self.reads = {TAKEN: 0, REFUSED: 0}
        """How often the files were read again, by outcome."""
        self.failure: str | None = None
        """Why the current files are not used, or None."""

    @property
    def expires_in_s(self) -> float:
        """Seconds until the current certificate expires; negative after that."""
        return (self._shown.until_ms - self._clock()) / 1_000

    def make_tls(self) -> Tls:
        """Return the TLS of a new connection."""
        return Tls(self._shown.context, self._buffers)

    def reload(self, *, asked: bool = False) -> None:
        """Read the files again if they have changed or could not be used last time; with `asked`, in any case."""
        stamp = _stamp(self._files)
        if stamp == self._stamp and self.failure is None and not asked:
            return
        self._stamp = stamp  # from before the files are read: a change meanwhile is seen the next time
        try:
            self._shown = _load(self._files, self._clock())
        except CertificateError as error:
            self._refuse(str(error))
        else:
            self.failure = None
            self.reads[TAKEN] += 1
            _log.info("new connections get the certificate read now, good for %d days", self._days())

    async def run(self, every: float = LOOK_SECONDS) -> NoReturn:
        """Look at the files every so many seconds, and read them at SIGHUP. In the main thread: signals come there."""
        with trio.open_signal_receiver(signal.SIGHUP) as signals:
            while True:
                with trio.move_on_after(every) as pause:
                    await anext(signals)
                # In a thread: the files may be on a network disk.
                await trio.to_thread.run_sync(lambda asked: self.reload(asked=asked), not pause.cancelled_caught)

    def _refuse(self, why: str) -> None:
        self.reads[REFUSED] += 1
        if why != self.failure:
            _log.warning("the old certificate stays, good for %d days: %s", self._days(), why)
        self.failure = why

    def _days(self) -> int:
        return int(self.expires_in_s // SECONDS_PER_DAY)


class _Shown(NamedTuple):
    context: ssl.SSLContext
    until_ms: int


def _load(files: TlsFiles, now_ms: int) -> _Shown:
    first = _read_certificate(files)
    since_ms, until_ms = (
        int(time.timestamp() * 1_000) for time in (first.not_valid_before_utc, first.not_valid_after_utc)
    )
    if until_ms <= now_ms:
        raise CertificateError(f"{TLS_CERTIFICATE}: the certificate has expired")
    if since_ms > now_ms:
        raise CertificateError(f"{TLS_CERTIFICATE}: the certificate is not valid yet")
    _check_key(files)
    try:
        return _Shown(make_context(files.certificate, files.key), until_ms)
    except ssl.SSLError as error:
        if error.reason == MISMATCH:
            raise CertificateError(f"{TLS_KEY}: the key is not the certificate's") from None
        raise CertificateError(f"{TLS_KEY}: OpenSSL does not take these files: {error.reason}") from None
    except (OSError, ValueError) as error:
        raise CertificateError(f"{TLS_KEY}: {_words(error)}") from None


def _read_certificate(files: TlsFiles) -> x509.Certificate:
    try:
        # The server's own certificate comes first, then its chain (RFC 8446 section 4.4.2).
        return x509.load_pem_x509_certificates(files.certificate.read_bytes())[0]
    except OSError as error:
        raise CertificateError(f"{TLS_CERTIFICATE}: {_words(error)}") from None
    except ValueError:
        raise CertificateError(f"{TLS_CERTIFICATE}: there is no certificate (PEM) in the file") from None


def _check_key(files: TlsFiles) -> None:
    try:
        with files.key.open("rb") as key:
            text, mode = key.read(), stat.S_IMODE(files.key.stat().st_mode)
    except OSError as error:
        raise CertificateError(f"{TLS_KEY}: {_words(error)}") from None
    # OpenSSL would say no more than `PEM lib`, and not which of the files it means.
    if b"PRIVATE KEY-----" not in text:
        raise CertificateError(f"{TLS_KEY}: there is no private key (PEM) in the file")
    if mode & stat.S_IROTH:
        raise CertificateError(f"{TLS_KEY}: everybody on this machine can read the file")


def _words(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _stamp(files: TlsFiles) -> tuple[tuple[int, ...], ...]:
    """Return what changes when a file is written, or replaced by another one as renewals do."""
    found: list[tuple[int, ...]] = []
    for path in (files.certificate, files.key):
        try:
            there = path.stat()
        except OSError:
            found.append(())
        else:
            found.append((there.st_dev, there.st_ino, there.st_mtime_ns, there.st_size))
    return tuple(found)
