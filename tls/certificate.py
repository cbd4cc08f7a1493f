"""A server's TLS certificate, read again when its files change or at SIGHUP, while connections go on."""

import logging
import signal
import ssl
import stat
from collections.abc import Callable, Collection
from functools import partial
from typing import Final, NamedTuple

import trio
from cryptography import x509

from settings.environment import ConfigError
from settings.tls import TlsFiles
from tls.connection import ClientAuthorityError, Tls, make_context, open_buffers

LOOK_SECONDS: Final = 60.0
"""Seconds between two looks at the files. The old certificate is usually good for weeks; SIGHUP is immediate."""
CERTIFICATE, KEY, CLIENT_CA = range(3)
"""The places in `TlsFiles.variables`."""
SECONDS_PER_DAY: Final = 86_400
TAKEN: Final = "taken"
REFUSED: Final = "refused"
MISMATCH: Final = "KEY_VALUES_MISMATCH"

_log: Final = logging.getLogger("varde.tls")


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

    def make_context(self) -> ssl.SSLContext:
        """Return what a new connection is made from."""
        return self._shown.context

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

    def _refuse(self, why: str) -> None:
        self.reads[REFUSED] += 1
        if why != self.failure:
            _log.warning("the old certificate stays, good for %d days: %s", self._days(), why)
        self.failure = why

    def _days(self) -> int:
        return int(self.expires_in_s // SECONDS_PER_DAY)


async def watch_certificates(certificates: Collection[TlsCertificate], every: float = LOOK_SECONDS) -> None:
    """Look at the files every so many seconds, and read them at SIGHUP. In the main thread: signals come there.

    One task for all of them: of two that wait for the same signal, Trio would tell the later one alone.
    """
    if not certificates:
        return
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        while True:
            with trio.move_on_after(every) as pause:
                await anext(signals)
            for each in certificates:
                # In a thread: the files may be on a network disk.
                await trio.to_thread.run_sync(partial(each.reload, asked=not pause.cancelled_caught))


class _Shown(NamedTuple):
    context: ssl.SSLContext
    until_ms: int


def _load(files: TlsFiles, now_ms: int) -> _Shown:
    first = _read_certificate(files)
    since_ms, until_ms = (
        int(time.timestamp() * 1_000) for time in (first.not_valid_before_utc, first.not_valid_after_utc)
    )
    if until_ms <= now_ms:
        raise CertificateError(f"{files.variables[CERTIFICATE]}: the certificate has expired")
    if since_ms > now_ms:
        raise CertificateError(f"{files.variables[CERTIFICATE]}: the certificate is not valid yet")
    _check_key(files)
    try:
        return _Shown(make_context(files.certificate, files.key, files.client_ca), until_ms)
    except ClientAuthorityError as error:
        raise CertificateError(f"{files.variables[CLIENT_CA]}: {_words(error)}") from None
    except ssl.SSLError as error:
        if error.reason == MISMATCH:
            raise CertificateError(f"{files.variables[KEY]}: the key is not the certificate's") from None
        raise CertificateError(f"{files.variables[KEY]}: OpenSSL does not take these files: {error.reason}") from None
    except (OSError, ValueError) as error:
        raise CertificateError(f"{files.variables[KEY]}: {_words(error)}") from None


def _read_certificate(files: TlsFiles) -> x509.Certificate:
    try:
        # The server's own certificate comes first, then its chain (RFC 8446 section 4.4.2).
        return x509.load_pem_x509_certificates(files.certificate.read_bytes())[0]
    except OSError as error:
        raise CertificateError(f"{files.variables[CERTIFICATE]}: {_words(error)}") from None
    except ValueError:
        raise CertificateError(f"{files.variables[CERTIFICATE]}: there is no certificate (PEM) in the file") from None


def _check_key(files: TlsFiles) -> None:
    try:
        with files.key.open("rb") as key:
            text, mode = key.read(), stat.S_IMODE(files.key.stat().st_mode)
    except OSError as error:
        raise CertificateError(f"{files.variables[KEY]}: {_words(error)}") from None
    # OpenSSL would say no more than `PEM lib`, and not which of the files it means.
    if b"PRIVATE KEY-----" not in text:
        raise CertificateError(f"{files.variables[KEY]}: there is no private key (PEM) in the file")
    if mode & stat.S_IROTH:
        raise CertificateError(f"{files.variables[KEY]}: everybody on this machine can read the file")


def _words(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _stamp(files: TlsFiles) -> tuple[tuple[int, ...], ...]:
    """Return what changes when a file is written, or replaced by another one as renewals do."""
    found: list[tuple[int, ...]] = []
    for path in filter(None, (files.certificate, files.key, files.client_ca)):
        try:
            there = path.stat()
        except OSError:
            found.append(())
        else:
            found.append((there.st_dev, there.st_ino, there.st_mtime_ns, there.st_size))
    return tuple(found)
