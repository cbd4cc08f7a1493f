"""What the supervisor is told from outside: where the data lies, which database, which addresses.

`from_environ` is the only reader of the environment; nothing here opens or starts anything.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from supervisor.ports import Address

DATA: Final = ".varde"
API_BIND: Final = "127.0.0.1:8400"
RELAY_BIND: Final = "127.0.0.1:8401"
RELAY_PATH: Final = "/v1/relay"
DRAIN: Final = 20.0
"""Seconds for the relay's clients to go, unless the relay is told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseSettings:
    """Settings of one house. `environ` is passed on to its programs; secrets in it are not shown."""

    data: Path
    api_bind: Address
    relay_bind: Address
    relay_workers: int = 1
    metrics_bind: Address | None = None
    drain: float = DRAIN
    tls: bool = False
    """Whether the relay has certificates. Then it reads them again at SIGHUP; without them it would die of that."""
    relay_url: str | None = None
    database_url: str | None = field(default=None, repr=False)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    python: tuple[str, ...] = (sys.executable, "-m")

    @classmethod
    def from_environ(
        cls,
        environ: Mapping[str, str],
        *,
        data: Path | None = None,
        api_bind: str | None = None,
        relay_bind: str | None = None,
        relay_workers: int = 1,
    ) -> "HouseSettings":
        """Read `VARDE_DATA`, `VARDE_API_BIND`, `VARDE_RELAY_BIND`, `VARDE_RELAY_URL` and `VARDE_DATABASE_URL`.

        Of what the relay alone is told, `VARDE_RELAY_METRICS_BIND`, `VARDE_RELAY_DRAIN_SECONDS` and
        `VARDE_RELAY_TLS_CERTIFICATE` matter here, too. What is given beside the environment is stronger.

        Raises BadAddress.
        """
        return cls(
            data=(data or Path(environ.get("VARDE_DATA") or DATA)).absolute(),
            api_bind=Address.parse(api_bind or environ.get("VARDE_API_BIND") or API_BIND),
            relay_bind=Address.parse(relay_bind or environ.get("VARDE_RELAY_BIND") or RELAY_BIND),
            relay_workers=relay_workers,
            metrics_bind=_address(environ.get("VARDE_RELAY_METRICS_BIND")),
            drain=_seconds(environ.get("VARDE_RELAY_DRAIN_SECONDS", "")),
            tls=bool(environ.get("VARDE_RELAY_TLS_CERTIFICATE")),
            relay_url=environ.get("VARDE_RELAY_URL") or None,
            database_url=environ.get("VARDE_DATABASE_URL"),
            environ=dict(environ),
        )


def _address(text: str | None) -> Address | None:
    return Address.parse(text) if text else None


def _seconds(text: str) -> float:
    """What is no number is the relay's to refuse, in its own words."""
    return float(text) if text.isascii() and text.isdigit() else DRAIN
