"""The programs of the system: how each is started, how it says that it is ready, how it is stopped."""

import json
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from settings.environment import Address
from supervisor.ports import later_port
from supervisor.settings import RELAY_PATH, SystemSettings

SECONDS: Final = 1.0

ANY_HOST: Final = "*"
"""In the URL of the relay: the host that a client has asked the API by."""
EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with

_ACCEPTS: Final = "database system is ready to accept connections"
"""In English for everybody: `storage.embedded` runs it with LC_ALL=C."""
_SECRETS: Final[Mapping[str, frozenset[str]]] = {
    "VARDE_PASSPHRASE": frozenset(),  # a client's
    "VARDE_SMTP_URL": frozenset({"api"}),
    "VARDE_DATABASE_URL": frozenset({"migrate", "relay", "api", "worker"}),
}
"""Which programs are told these; everything else in the environment is passed on to all."""
_COMMIT_TIME: Final = 10 * SECONDS
"""For what was accepted to be committed, and for the database to be left, once the clients have gone."""
_PARENT_TIME: Final = 5 * SECONDS
"""For a fleet's parent to see its workers' ends."""

ParseReady: TypeAlias = Callable[[str], str | None]
"""Takes one line of the program's output and returns its address when this line says that it is ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program. The environment is not shown: it may hold the password of a database."""

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)
    parse_ready: ParseReady = field(repr=False)
    stop_signal: signal.Signals = signal.SIGTERM
    start_timeout: float = 30 * SECONDS
    stop_timeout: float = 15 * SECONDS
    tier: int = 0
    """If the supervisor is killed, programs of a higher tier are stopped first, those of one tier together."""


def ready_message(name: str) -> ParseReady:
    """Parse the line `{"ready": name, "address": "..."}`, which Varde's servers print when they are ready."""

    def parse_ready(line: str) -> str | None:
        if not line.startswith("{"):
            return None
        try:
            said = json.loads(line)
        except ValueError:
            return None
        return str(said.get("address", "")) if said.get("ready") == name else None

    return parse_ready


def log_line(part: str, address: str) -> ParseReady:
    """Match a line that contains `part`; the address is known beforehand."""
    return lambda line: address if part in line else None


def _reached(public: str | None, address: Address) -> Address:
    return address.reachable if public is None else Address(public, address.port)


def never(_line: str) -> str | None:
    """For a program that does its work and ends."""
    return None


class Programs:
    """Describes each program, for one system at known addresses."""

    def __init__(self, settings: SystemSettings, api: Address, relay: Address) -> None:
        self._settings = settings
        api_at, relay_at = (_reached(settings.public, each) for each in (api, relay))
        relay_scheme = "wss" if settings.tls else "ws"
        self.api_url = f"{'https' if settings.api_tls else 'http'}://{api_at}"
        self.relay_url = settings.relay_url or f"{relay_scheme}://{relay_at}{RELAY_PATH}"
        told = self.relay_url
        if settings.relay_url is None and settings.public is None and relay.host in EVERYWHERE:
            # Whoever comes from another machine would look for 127.0.0.1 on their own.
            told = f"{relay_scheme}://{ANY_HOST}:{relay.port}{RELAY_PATH}"
        self._environ = {
            **settings.environ,
            # Python buffers in blocks what goes into a pipe: a program that is killed would take its last lines along.
            "PYTHONUNBUFFERED": "1",
            "VARDE_DATA": str(settings.data),
            "VARDE_API_BIND": str(api),
            "VARDE_RELAY_BIND": str(relay),
            "VARDE_RELAY_URL": told,
        }
        self.database_url = ""
        if settings.database_url is not None:
            self.use_database(settings.database_url)

    def use_database(self, url: str) -> None:
        """Point the programs that are described from now on at this database."""
        # By URL even when it is the embedded one: given only the folder, they would start a Postgres of their own
        # whenever they find none, which is also so in the moment after ours has crashed.
        self.database_url = self._environ["VARDE_DATABASE_URL"] = url

    def postgres(self) -> Program:
        """The embedded Postgres. It becomes the postmaster itself, so its readiness is a line of its log."""
        return self._program(
            "postgres",
            ("storage", "postgres", "--data", self._postgres_folder),
            log_line(_ACCEPTS, self._postgres_folder),
            stop_signal=signal.SIGINT,  # fast: clients are disconnected
            start_timeout=180 * SECONDS,  # the first time it makes the cluster; after a crash it replays its log
            stop_timeout=60 * SECONDS,  # it writes out what it holds
        )

    def postgres_url(self) -> Program:
        """Prints the URL of the embedded Postgres."""
        return self._program("postgres", ("storage", "url", "--data", self._postgres_folder), never)

    def migrate(self) -> Program:
        """Brings the schema up to date and ends."""
        return self._program("migrate", ("storage", "migrate"), never, start_timeout=3600 * SECONDS, tier=1)

    def relay(self) -> Program:
        """The WebSocket node, or the parent of several. It drains its connections when it is stopped."""
        node, workers = self._node(), self._settings.relay_workers
        if workers == 1:
            return node
        return replace(
            node,
            command=(*self._settings.python, "varde_cli", "relay", "--workers", str(workers)),
            start_timeout=4 * node.start_timeout,  # its workers have some each, and are tried again
            stop_timeout=node.stop_timeout + _PARENT_TIME,
        )

    def relay_node(self, index: int) -> Program:
        """One WebSocket node of several on one address, counted from 0; its metrics have a port of its own."""
        node, metrics = self._node(), self._settings.metrics_bind
        own = {} if metrics is None else {"VARDE_RELAY_METRICS_BIND": str(later_port(metrics, index))}
        return replace(node, name=f"relay-{index + 1}", environ={**node.environ, "VARDE_RELAY_REUSE_PORT": "1", **own})

    def _node(self) -> Program:
        timeout = self._settings.drain + _COMMIT_TIME
        return self._program("relay", ("relay",), ready_message("relay"), stop_timeout=timeout, tier=1)

    def api(self) -> Program:
        """The REST face."""
        return self._program("api", ("api",), ready_message("api"), tier=2)

    def worker(self) -> Program:
        """Does the jobs that nobody waits for; its address is its id in the table of leases."""
        return self._program("worker", ("worker",), ready_message("worker"), tier=2)

    @property
    def _postgres_folder(self) -> str:
        return str(self._settings.data / "postgres")

    def _program(
        self,
        name: str,
        arguments: tuple[str, ...],
        parse_ready: ParseReady,
        *,
        stop_signal: signal.Signals = signal.SIGTERM,
        start_timeout: float = 30 * SECONDS,
        stop_timeout: float = 15 * SECONDS,
        tier: int = 0,
    ) -> Program:
        environ = {key: value for key, value in self._environ.items() if name in _SECRETS.get(key, {name})}
        return Program(
            name=name,
            command=(*self._settings.python, *arguments),
            environ=environ,
            parse_ready=parse_ready,
            stop_signal=stop_signal,
            start_timeout=start_timeout,
            stop_timeout=stop_timeout,
            tier=tier,
        )
