"""The settings of the supervisor: data folder, database, addresses."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from settings.api import ApiSettings
from settings.environment import Address
from settings.relay import RelaySettings

DATA: Final = ".varde"
API_BIND: Final = "127.0.0.1:8400"
RELAY_BIND: Final = "127.0.0.1:8401"
RELAY_PATH: Final = "/v1/relay"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemSettings:
    """Settings of one system. `environ` is passed on to its programs; secrets in it are not shown."""

    data: Path
    api_bind: Address
    relay_bind: Address
    relay_workers: int = 1
    metrics_bind: Address | None = None
    drain: float = RelaySettings().drain_deadline
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
    ) -> "SystemSettings":
        """Read what relay and API are told, in their words; a variable that is empty here counts as not set.

        What is given beside the environment is stronger, and its variable is not read.

        Raises:
            ConfigError: naming the variable; BadAddress for an address that was given beside it.
        """
        given = {"VARDE_API_BIND": api_bind, "VARDE_RELAY_BIND": relay_bind}
        told = {name: text for name, text in environ.items() if text and not given.get(name)}
        api, relay = ApiSettings.from_environ(told), RelaySettings.from_environ(told)
        metrics = relay.metrics_bind
        return cls(
            data=(data or api.data).absolute(),
            api_bind=Address.parse(api_bind) if api_bind else Address(api.host, api.port),
            relay_bind=Address.parse(relay_bind) if relay_bind else Address(relay.host, relay.port),
            relay_workers=relay_workers,
            metrics_bind=None if metrics is None else Address(*metrics),
            drain=relay.drain_deadline,
            tls=relay.tls is not None,
            relay_url=told.get("VARDE_RELAY_URL"),
            database_url=environ.get("VARDE_DATABASE_URL"),
            environ=dict(environ),
        )
