"""What the programs of a stack are told: where everything lies in its folder, and how each program is run."""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from loadtest.stack.certificate import Certificate
from loadtest.stack.process import HOST
from loadtest.stack.program import Program, announcement

RELAY_PATH: Final = "/v1/relay"
DRAIN_DEADLINE: Final = 40.0
"""Seconds: twenty for clients to go (VARDE_RELAY_DRAIN_SECONDS), then what was accepted is still committed."""
_ACCEPTS: Final = "database system is ready to accept connections"


class Layout(Struct, frozen=True):
    """One stack, before it runs."""

    folder: Path
    relay_port: int
    metrics_ports: tuple[int, ...]
    """One for each relay node."""
    certificate: Certificate | None
    database_url: str = ""

    @property
    def relay_url(self) -> str:
        """Where clients reach the relay."""
        return f"{'ws' if self.certificate is None else 'wss'}://{HOST}:{self.relay_port}{RELAY_PATH}"

    @property
    def postgres_folder(self) -> Path:
        """The embedded Postgres."""
        return self.folder / "postgres"

    @property
    def cluster(self) -> Path:
        """Where all of its processes work."""
        return self.postgres_folder / "cluster"

    def log(self, name: str) -> Path:
        """What a program says."""
        return self.folder / "logs" / f"{name}.log"

    def postgres(self) -> Program:
        """The database. The process becomes the postmaster, so its readiness is a line of its log."""
        command = _python("storage", "postgres", "--data", str(self.postgres_folder))
        # SIGINT is a fast shutdown: clients are disconnected.
        return Program(
            "postgres", command, _environ(), lambda line: _ACCEPTS in line, signal.SIGINT, patience=20.0, tier=0
        )

    def api(self) -> Program:
        """The REST face, on a port that it says when it is ready."""
        environ = self.environ | {"VARDE_API_BIND": f"{HOST}:0", "VARDE_RELAY_URL": self.relay_url}
        return Program("api", _python("api"), environ, announcement("api"))

    def node(self, index: int) -> Program:
        """A relay node, from 0. All listen on one port."""
        environ = self.environ | {
            "VARDE_RELAY_BIND": f"{HOST}:{self.relay_port}",
            "VARDE_RELAY_REUSE_PORT": "1",
            "VARDE_RELAY_METRICS_BIND": f"{HOST}:{self.metrics_ports[index]}",
        }
        if self.certificate is not None:
            environ |= {
                "VARDE_RELAY_TLS_CERTIFICATE": str(self.certificate.certificate),
                "VARDE_RELAY_TLS_KEY": str(self.certificate.key),
            }
        return Program(f"relay-{index + 1}", _python("relay"), environ, announcement("relay"))

    @property
    def environ(self) -> dict[str, str]:
        """What every program of ours is told."""
        return _environ() | {"VARDE_DATA": str(self.folder), "VARDE_DATABASE_URL": self.database_url}


def _python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *arguments)


def _environ() -> dict[str, str]:
    """Whoever runs the load may have a Varde of their own: none of its settings count here."""
    inherited: Mapping[str, str] = os.environ
    kept = {name: value for name, value in inherited.items() if not name.startswith("VARDE_")}
    return kept | {"PYTHONUNBUFFERED": "1"}
