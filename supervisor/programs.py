"""The programs of the house, each as the supervisor runs it.

In which order they live is `house.py`; the programs themselves are in other rooms and are not imported.
"""

import signal
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from settings.environment import Address
from supervisor.ports import later_port
from supervisor.program import SECONDS, Program, Recognise, announcement, log_line, never
from supervisor.settings import RELAY_PATH, HouseSettings

_ACCEPTS: Final = "database system is ready to accept connections"
_SECRETS: Final[Mapping[str, frozenset[str]]] = {
    "VARDE_PASSPHRASE": frozenset(),  # a client's
    "VARDE_SMTP_URL": frozenset({"api"}),
    "VARDE_DATABASE_URL": frozenset({"migrate", "relay", "api", "worker"}),
}
"""Which programs are told these; everything else in the environment is passed on to all."""
_AFTER_DRAIN: Final = 10 * SECONDS
"""For what was accepted to be committed, and for the database to be left, once the clients have gone."""
_FAREWELL: Final = 5 * SECONDS
"""For a fleet's parent to see its workers' ends."""


class Programs:
    """Makes the description of each program, for one house at known addresses."""

    def __init__(self, settings: HouseSettings, api: Address, relay: Address) -> None:
        self._settings = settings
        self.api_url = f"http://{api.reachable}"
        self.relay_url = settings.relay_url or f"{'wss' if settings.tls else 'ws'}://{relay.reachable}{RELAY_PATH}"
        self._environ = {
            **settings.environ,
            "PYTHONUNBUFFERED": "1",
            "VARDE_DATA": str(settings.data),
            "VARDE_API_BIND": str(api),
            "VARDE_RELAY_BIND": str(relay),
            "VARDE_RELAY_URL": self.relay_url,
        }
        self.database_url = ""
        if settings.database_url is not None:
            self.use_database(settings.database_url)

    def use_database(self, url: str) -> None:
        """Point the programs that are described from now on at this database."""
        # By URL even when it is the embedded one: told only the folder, they would start a Postgres of their own
        # whenever they find none, which is also so in the moment after ours has crashed.
        self.database_url = self._environ["VARDE_DATABASE_URL"] = url

    def postgres(self) -> Program:
        """The embedded Postgres. It becomes the postmaster itself, so its readiness is a line of its log."""
        return self._program(
            "postgres",
            ("storage", "postgres", "--data", self._postgres_folder),
            log_line(_ACCEPTS, self._postgres_folder),
            stop_signal=signal.SIGINT,  # fast: clients are disconnected
            start_patience=180 * SECONDS,  # the first time it makes the cluster; after a crash it replays its log
            stop_patience=60 * SECONDS,  # it writes out what it holds
        )

    def postgres_url(self) -> Program:
        """Prints the URL of the embedded Postgres."""
        return self._program("postgres", ("storage", "url", "--data", self._postgres_folder), never)

    def migrate(self) -> Program:
        """Brings the schema up to date and ends."""
        return self._program("migrate", ("storage", "migrate"), never, start_patience=3600 * SECONDS, tier=1)

    def relay(self) -> Program:
        """The WebSocket node, or the parent of several. It drains its connections when it is stopped."""
        node, workers = self._node(), self._settings.relay_workers
        if workers == 1:
            return node
        return replace(
            node,
            command=(*self._settings.python, "varde_cli", "relay", "--workers", str(workers)),
            start_patience=4 * node.start_patience,  # its workers have some each, and are tried again
            stop_patience=node.stop_patience + _FAREWELL,
        )

    def relay_node(self, index: int) -> Program:
        """One WebSocket node of several on one address, counted from 0; its metrics have a port of its own."""
        node, metrics = self._node(), self._settings.metrics_bind
        own = {} if metrics is None else {"VARDE_RELAY_METRICS_BIND": str(later_port(metrics, index))}
        return replace(node, name=f"relay-{index + 1}", environ={**node.environ, "VARDE_RELAY_REUSE_PORT": "1", **own})

    def _node(self) -> Program:
        patience = self._settings.drain + _AFTER_DRAIN
        return self._program("relay", ("relay",), announcement("relay"), stop_patience=patience, tier=1)

    def api(self) -> Program:
        """The REST face."""
        return self._program("api", ("api",), announcement("api"), tier=2)

    def worker(self) -> Program:
        """Does the jobs that nobody waits for; its address is its id in the table of leases."""
        return self._program("worker", ("worker",), announcement("worker"), tier=2)

    @property
    def _postgres_folder(self) -> str:
        return str(self._settings.data / "postgres")

    def _program(
        self,
        name: str,
        arguments: tuple[str, ...],
        recognise: Recognise,
        *,
        stop_signal: signal.Signals = signal.SIGTERM,
        start_patience: float = 30 * SECONDS,
        stop_patience: float = 15 * SECONDS,
        tier: int = 0,
    ) -> Program:
        environ = {key: value for key, value in self._environ.items() if name in _SECRETS.get(key, {name})}
        return Program(
            name=name,
            command=(*self._settings.python, *arguments),
            environ=environ,
            recognise=recognise,
            stop_signal=stop_signal,
            start_patience=start_patience,
            stop_patience=stop_patience,
            tier=tier,
        )
