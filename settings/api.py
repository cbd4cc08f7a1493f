"""Settings of the API: where it listens, where the relay is, and how much it lets one address do."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from settings.environment import (
    DATA,
    SECONDS,
    Address,
    ConfigError,
    read_address,
    read_bind,
    read_data,
    read_number,
    split_url,
)
from settings.tls import TlsFiles, read_api_tls, read_metrics_tls

_ORIGIN: Final = re.compile(
    r"(?!https://[^/]*:443$|http://[^/]*:80$)[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?"
)


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """How long the server waits for its clients, in seconds."""

    keep_alive: float = 60 * SECONDS  # between two requests
    head: float = 10 * SECONDS  # from the first byte of a request to the end of its head
    body: float = 20 * SECONDS  # for the whole of it
    work: float = 12 * SECONDS  # for a request to be answered: the mail server may take 10
    send: float = 20 * SECONDS  # for the client to take an answer off our hands
    linger: float = 2 * SECONDS  # for a client that still sends to read why it was refused
    stop: float = 10 * SECONDS  # for requests under way when the server stops; the supervisor kills after 15


@dataclass(frozen=True, kw_only=True)
class ApiSettings:
    """Everything the API is told."""

    host: str = "127.0.0.1"
    port: int = 8400
    tls: TlsFiles | None = None  # None where TLS ends in front of it, at the load balancer
    data: Path = Path(DATA)
    relay_url: str = "ws://127.0.0.1:8401/v1/relay"
    proxies: int = 0  # load balancers in front that each add the address they saw to X-Forwarded-For
    connections: int = 4_000  # at once; a process here may open 20,000 files
    connections_per_address: int = 1_000  # of those; not with proxies, whose address all clients share
    backlog: int = 1_024
    origins: frozenset[str] = frozenset()  # of web pages that may call the API, as browsers spell them
    sign_in_burst: int = 120  # sign-ins from one network at once; then one a second
    metrics_bind: tuple[str, int] | None = None  # where Prometheus may ask; whoever can connect there can read it
    metrics_tls: TlsFiles | None = None  # for Prometheus, which then needs a certificate too
    timeouts: Timeouts = Timeouts()

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "ApiSettings":
        """Read `VARDE_API_BIND`, `VARDE_DATA`, `VARDE_RELAY_URL`, and what else `--help` names.

        Raises:
            ConfigError: naming the variable.
        """
        host, port = read_address(environ, "VARDE_API_BIND", Address(cls.host, cls.port))
        return cls(
            host=host,
            port=port,
            tls=read_api_tls(environ),
            data=read_data(environ),
            relay_url=_relay_url(environ.get("VARDE_RELAY_URL", cls.relay_url)),
            proxies=read_number(environ, "VARDE_API_PROXIES", cls.proxies),
            origins=_origins(environ.get("VARDE_API_ORIGINS", "")),
            metrics_bind=read_bind(environ, "VARDE_API_METRICS_BIND"),
            metrics_tls=read_metrics_tls(environ),
            sign_in_burst=read_number(environ, "VARDE_SIGN_IN_BURST", cls.sign_in_burst),
        )


def _origins(text: str) -> frozenset[str]:
    """Read origins with spaces or commas in between. No wildcard passes: `*` is no origin."""
    origins = text.replace(",", " ").split()
    # Compared as text with what a browser sends (RFC 6454 section 6.2), where a slash at the end never matches.
    if not all(_ORIGIN.fullmatch(origin) for origin in origins):
        raise ConfigError(
            "VARDE_API_ORIGINS must be origins such as https://chat.example.org: in lower case, without a path, and "
            "without the port that the scheme has anyway"
        )
    return frozenset(origins)


def _relay_url(text: str) -> str:
    url = split_url("VARDE_RELAY_URL", text)
    if url.scheme not in {"ws", "wss"} or not url.hostname:
        raise ConfigError("VARDE_RELAY_URL must be the ws:// or wss:// URL where clients reach the relay")
    return text
