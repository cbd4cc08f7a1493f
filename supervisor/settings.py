"""The settings of the supervisor: data folder, database, addresses."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from settings.api import ApiSettings
from settings.environment import Address, ConfigError
from settings.relay import RelaySettings
from settings.tls import API, RELAY, TlsFiles
from supervisor.authority import check_name

DATA: Final = ".varde"
API_BIND: Final = "127.0.0.1:8400"
RELAY_BIND: Final = "127.0.0.1:8401"
PUBLIC_API: Final = "0.0.0.0:8400"
PUBLIC_RELAY: Final = "0.0.0.0:8401"
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
    api_tls: bool = False
    """The same of the API."""
    relay_url: str | None = None
    public: str | None = None
    """The name that others reach this machine by. Without certificates of one's own, some are made for it."""
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
        public: str | None = None,
        certificate: tuple[Path, Path] | None = None,
        together: bool = False,
    ) -> "SystemSettings":
        """Read what relay and API are told, in their words; a variable that is empty here counts as not set.

        What is given beside the environment is stronger, and its variable is not read. `certificate` is a certificate
        with its chain, and its key, for relay and API. With `public`, both listen on all addresses unless told
        otherwise, and speak TLS. `together`: both are run here, so the relay has to be where clients of the API come.

        Raises:
            ConfigError: naming the variable; BadAddress for an address that was given beside it.
        """
        if certificate is not None:
            environ = {**environ, **_variables(TlsFiles(*certificate))}
        given = {"VARDE_API_BIND": api_bind, "VARDE_RELAY_BIND": relay_bind}
        told = {name: text for name, text in environ.items() if text and not given.get(name)}
        name = None if public is None else check_name(public)
        if name is not None:
            told = {"VARDE_API_BIND": PUBLIC_API, "VARDE_RELAY_BIND": PUBLIC_RELAY, **told}
        api, relay = ApiSettings.from_environ(told), RelaySettings.from_environ(told)
        metrics = relay.metrics_bind
        api_address = Address.parse(api_bind) if api_bind else Address(api.host, api.port)
        relay_address = Address.parse(relay_bind) if relay_bind else Address(relay.host, relay.port)
        if together and not relay_bind and "VARDE_RELAY_BIND" not in told:
            # Who asks the API from another machine is sent on to the relay.
            relay_address = Address(api_address.host, relay_address.port)
        stranded = _is_here(relay_address) and not _is_here(api_address)
        if together and stranded and "VARDE_RELAY_URL" not in told:
            raise ConfigError(
                f"the API listens for other machines at {api_address}, and the relay for this one alone at "
                f"{relay_address}: give --relay-bind {Address(api_address.host, relay_address.port)}, or say with "
                "VARDE_RELAY_URL where clients reach the relay"
            )
        return cls(
            data=(data or api.data).absolute(),
            api_bind=api_address,
            relay_bind=relay_address,
            relay_workers=relay_workers,
            metrics_bind=None if metrics is None else Address(*metrics),
            drain=relay.drain_deadline,
            tls=relay.tls is not None,
            api_tls=api.tls is not None,
            public=name,
            relay_url=told.get("VARDE_RELAY_URL"),
            database_url=environ.get("VARDE_DATABASE_URL"),
            environ=dict(environ),
        )

    def with_certificates(self, made: TlsFiles) -> "SystemSettings":
        """Return the same with a certificate for whichever of relay and API has none."""
        files = {name: path for name, path in _variables(made).items() if not self.environ.get(name)}
        return replace(self, tls=True, api_tls=True, environ={**self.environ, **files})


def _variables(files: TlsFiles) -> dict[str, str]:
    certificate, key = str(files.certificate.absolute()), str(files.key.absolute())
    return {name: path for pair in (API, RELAY) for name, path in zip(pair[:2], (certificate, key), strict=True)}


def _is_here(address: Address) -> bool:
    """Whether only this machine can connect there."""
    try:
        return address.host == "localhost" or ip_address(address.host).is_loopback
    except ValueError:
        return False
