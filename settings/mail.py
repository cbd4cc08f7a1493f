"""Settings of mail: which mail server, and who writes. Codes never travel over a network in the clear."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.errors import HeaderParseError
from email.headerregistry import Address
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qs, unquote

from settings.environment import ConfigError, read_data, split_url

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
DEVELOPMENT_SENDER: Final = "varde@localhost"


class Security(enum.Enum):
    """How the connection to the mail server is protected; each value is the port it uses by default."""

    STARTTLS = 587
    TLS = 465
    NONE = 25


@dataclass(frozen=True, slots=True)
class MailFolder:
    """No mail server: letters go to files in `folder`. For development.

    With `show_codes` they go to the console too: not where strangers can ask for one, because consoles become logs.
    """

    folder: Path
    show_codes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Smtp:
    """A mail server. Without `user` there is no login."""

    host: str
    port: int
    security: Security
    user: str | None = None
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailSettings:
    """Where letters go and whose address they come from."""

    route: MailFolder | Smtp
    sender: str

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "MailSettings":
        """Read `VARDE_SMTP_URL` and `VARDE_MAIL_FROM`; without a URL, letters go to `$VARDE_DATA/outbox`.

        The URL is `smtp://user:password@host` (STARTTLS, which the server must offer) or `smtps://...` (TLS from the
        start). `smtp://...?tls=none` is for a server on this machine only.

        Raises:
            ConfigError: naming the variable.
        """
        url = environ.get("VARDE_SMTP_URL")
        if url is None:
            folder = read_data(environ) / "outbox"
            return cls(route=MailFolder(folder), sender=_sender(environ.get("VARDE_MAIL_FROM", DEVELOPMENT_SENDER)))
        return cls(route=_smtp(split_url("VARDE_SMTP_URL", url)), sender=_sender(environ.get("VARDE_MAIL_FROM", "")))


def _sender(text: str) -> str:
    try:
        return Address(addr_spec=text).addr_spec
    except (HeaderParseError, ValueError, IndexError):
        raise ConfigError("VARDE_MAIL_FROM must be the e-mail address that codes are sent from") from None


def _smtp(url: SplitResult) -> Smtp:
    security = _security(url)
    try:
        port = url.port or security.value
    except ValueError:
        raise ConfigError("VARDE_SMTP_URL has a port that is no number") from None
    if not url.hostname:
        raise ConfigError("VARDE_SMTP_URL names no host")
    user = unquote(url.username) if url.username else None
    if user is not None and security is Security.NONE:
        raise ConfigError("VARDE_SMTP_URL has a login, which tls=none would send in the clear")
    return Smtp(host=url.hostname, port=port, security=security, user=user, password=unquote(url.password or ""))


def _security(url: SplitResult) -> Security:
    if url.scheme == "smtps":
        return Security.TLS
    if url.scheme != "smtp":
        raise ConfigError("VARDE_SMTP_URL must begin with smtp:// or smtps:// (unset it to use the outbox folder)")
    if parse_qs(url.query).get("tls") != ["none"]:
        return Security.STARTTLS
    if url.hostname not in LOOPBACK:
        raise ConfigError("VARDE_SMTP_URL may say tls=none only for this machine: codes must not travel in the clear")
    return Security.NONE
