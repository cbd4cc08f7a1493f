"""Where the files of a program's own side of TLS lie: certificate, key, and the authority of those who may come."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from settings.environment import ConfigError

API: Final = ("VARDE_API_TLS_CERTIFICATE", "VARDE_API_TLS_KEY", "VARDE_API_TLS_CLIENT_CA")
RELAY: Final = ("VARDE_RELAY_TLS_CERTIFICATE", "VARDE_RELAY_TLS_KEY", "VARDE_RELAY_TLS_CLIENT_CA")
METRICS: Final = ("VARDE_METRICS_TLS_CERTIFICATE", "VARDE_METRICS_TLS_KEY", "VARDE_METRICS_TLS_CLIENT_CA")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where a certificate with its chain, and its private key, lie as PEM, and the variables that say so.

    With `client_ca`, nobody is let in without a certificate of that authority.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    variables: tuple[str, ...] = RELAY


def read_relay_tls(environ: Mapping[str, str]) -> TlsFiles | None:
    """Read `VARDE_RELAY_TLS_CERTIFICATE`, `_KEY` and perhaps `_CLIENT_CA`; None without them. Raises ConfigError."""
    return _read_served(environ, RELAY)


def read_api_tls(environ: Mapping[str, str]) -> TlsFiles | None:
    """Read `VARDE_API_TLS_CERTIFICATE`, `_KEY` and perhaps `_CLIENT_CA`; None without them. Raises ConfigError."""
    return _read_served(environ, API)


def read_metrics_tls(environ: Mapping[str, str]) -> TlsFiles | None:
    """Read `VARDE_METRICS_TLS_CERTIFICATE`, `_KEY` and `_CLIENT_CA`; None without them. Raises ConfigError.

    All three or none: a port that is encrypted and open to everybody would look safer than it is.
    """
    paths = _read_together(environ, METRICS)
    return None if paths is None else TlsFiles(paths[0], paths[1], paths[2], METRICS)


def _read_served(environ: Mapping[str, str], variables: tuple[str, str, str]) -> TlsFiles | None:
    *own, client_ca = variables
    # An authority alone would leave the port open to everybody, so it asks for the other two.
    paths = _read_together(environ, variables if environ.get(client_ca) else tuple(own))
    return None if paths is None else TlsFiles(paths[0], paths[1], paths[2] if paths[2:] else None, variables)


def _read_together(environ: Mapping[str, str], variables: tuple[str, ...]) -> tuple[Path, ...] | None:
    there = [name for name in variables if environ.get(name)]
    missing = [name for name in variables if name not in there]
    if there and missing:
        raise ConfigError(f"{there[0]} needs {' and '.join(missing)} beside it")
    return tuple(Path(environ[name]) for name in there) or None
