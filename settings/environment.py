"""The values that variables hold: numbers, flags, addresses and folders. Every error names its variable.

An error's text never repeats the value, which may be a secret in the wrong place.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

SECONDS: Final = 1.0
MINUTES: Final = 60.0
KIB: Final = 1024
MIB: Final = 1024 * KIB
PORT_MAX: Final = 65_535
DATA: Final = ".varde"
CALLED_AS: Final = "VARDE_CALLED_AS"
RESERVED: Final = "in its user and password, write / ? # [ ] @ : % as %2F %3F %23 %5B %5D %40 %3A %25"
_DIGITS_MAX: Final = 9  # of a whole number; no setting needs a milliard


class ConfigError(Exception):
    """The environment says something that cannot be followed; the text names the variable, never its value."""


class BadAddress(ConfigError):
    """Not an address of the form host:port, or none of this machine."""


class Address(NamedTuple):
    """A host (name, IPv4, or IPv6 without brackets) and a port; port 0 means any free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read `host:port` or `[ipv6]:port`. Raises BadAddress."""
        host, _, port = text.strip().rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:  # `::1:8401` could be a longer address with no port at all
            host = ""
        if not (host and "/" not in host and _is_whole(port) and int(port) <= PORT_MAX):
            raise BadAddress(f"'{text}' is not an address: write host:port, for example 127.0.0.1:8400 or [::]:8400")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def reachable(self) -> "Address":
        """The same as seen from this machine: a program that listens everywhere is also at the loopback address."""
        loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  compared with, never bound to
        return Address(loopback.get(self.host, self.host), self.port)


def command_from_environ(environ: Mapping[str, str]) -> str | None:
    """Return the words that a person called this program with, for its help; None when `varde` did not start it."""
    return environ.get(CALLED_AS)


def read_address(environ: Mapping[str, str], name: str, default: Address) -> Address:
    """Read the address and port to listen on. Raises ConfigError."""
    text = environ.get(name)
    if text is None:
        return default
    try:
        return Address.parse(text)
    except BadAddress:
        raise ConfigError(f"{name} must be an address and a port, such as 127.0.0.1:8401 or [::]:8401") from None


def split_url(name: str, text: str) -> SplitResult:
    """Take a URL apart. Raises ConfigError: urllib's own words may show a part of a password."""
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ConfigError(f"{name} cannot be read: {RESERVED}") from None
    return parts


def read_bind(environ: Mapping[str, str], name: str) -> Address | None:
    """Read the address and port of something that is served only when it is asked for. Raises ConfigError."""
    return read_address(environ, name, Address("", 0)) if environ.get(name) else None


def read_number(
    environ: Mapping[str, str], name: str, default: int, *, least: int = 0, most: int | None = None, unit: str = ""
) -> int:
    """Read a whole number from `least` to `most`, both included. `unit` is for the error's text. Raises ConfigError."""
    text = environ.get(name)
    if text is None:
        return default
    if not (_is_whole(text) and int(text) >= least and (most is None or int(text) <= most)):
        bounds = f", at least {least}" if most is None else f" from {least} to {most}"
        raise ConfigError(f"{name} must be a whole number{f' of {unit}' if unit else ''}{bounds}")
    return int(text)


def read_flag(environ: Mapping[str, str], name: str) -> bool:
    """Read 0 or 1; without the variable, 0. Raises ConfigError."""
    text = environ.get(name, "0")
    if text not in {"0", "1"}:
        raise ConfigError(f"{name} must be 0 or 1")
    return text == "1"


def read_data(environ: Mapping[str, str]) -> Path:
    """Read `VARDE_DATA`, the folder that a server keeps its files in. An empty one means the default, too."""
    return Path(environ.get("VARDE_DATA") or DATA)


def _is_whole(text: str) -> bool:
    # isdigit alone takes superscripts and the digits of other scripts; int alone takes signs, spaces and underscores.
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX
