"""Varde as a durable server: a real Postgres with fsync on, one relay process, and people copied into the database."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from bench.durable.dialect import Dialect, Tally
from bench.durable.seeding import seed_pairs
from bench.durable.served import HOST, Served, free_port, run_process, wait_until
from bench.durable.tls import TlsDialect
from bench.durable.varde import Seat, VardeDialect
from loadtest.stack.certificate import Certificate
from storage.embedded.cluster import embedded_url, postgres_command, ready_command
from storage.keys import ServerKeys, open_keys

NAME: Final = "varde"
POSTGRES: Final = "postgres"


class House(Struct, frozen=True):
    """A folder with keys, a database that runs, and the people in it."""

    folder: Path
    keys: ServerKeys
    postgres: int
    seats: tuple[Seat, ...]

    @property
    def environ(self) -> dict[str, str]:
        """What a relay over it is told."""
        return _environ(self.folder)


@contextmanager
def open_house(folder: Path, connections: int, seats: Sequence[Seat] = ()) -> Iterator[House]:
    """Run Postgres in `folder`, and settle a device for each of an even number of connections. Raises ServerFault.

    With `seats`, of an earlier run in the same folder, they are there already.
    """
    log = folder / "postgres.log"
    with run_process(
        postgres_command(folder / "postgres"), environ=_environ(folder), log=log, stop=signal.SIGINT
    ) as process:
        wait_until(lambda: _answers(folder), process, log)
        subprocess.run(
            (sys.executable, "-m", "storage", "migrate"), env=_environ(folder), check=True, stdout=subprocess.DEVNULL
        )
        keys = open_keys(folder / "keys")
        url = embedded_url(folder / "postgres")
        seats = seats or seed_pairs(url, connections // 2, ticket_key=keys.ticket_private)
        yield House(folder, keys, process.pid, tuple(seats))


@contextmanager
def open_node(
    house: House, port: int = 0, certificate: Certificate | None = None
) -> Iterator[tuple[Served, "subprocess.Popen[bytes]"]]:
    """Run a relay over the house, with a certificate as `wss`. Raises ServerFault.

    Its end may also be a kill by whoever holds the process.
    """
    port = port or free_port()
    ready, log = house.folder / "relay.out", house.folder / "relay.log"
    ready.unlink(missing_ok=True)
    command = (sys.executable, "-m", "bench.durable.varde_node")
    environ = house.environ | {"VARDE_RELAY_BIND": f"{HOST}:{port}"} | _tls_environ(certificate)
    with run_process(command, environ=environ, log=log, said=ready) as process:
        wait_until(lambda: _is_said(ready), process, log)
        yield _served(house, port, process.pid, certificate), process


class Varde:
    """The whole system, which may be opened again in the same folder: it remembers who lives there."""

    def __init__(self) -> None:
        self._seats: tuple[Seat, ...] = ()

    @contextmanager
    def open(self, folder: Path, connections: int) -> Iterator[Served]:
        """Run it in `folder`. Raises ServerFault."""
        with open_house(folder, connections, self._seats) as house, open_node(house) as (served, _):
            self._seats = house.seats
            yield served


def _served(house: House, port: int, pid: int, certificate: Certificate | None) -> Served:
    authority = f"{HOST}:{port}"
    context = None if certificate is None else certificate.context()

    def dial(number: int, tally: Tally) -> Dialect:
        plain = VardeDialect(number, house.seats[number], tally, authority=authority, relay_key=house.keys.relay_public)
        return plain if context is None else TlsDialect(plain, context)

    settings = {
        "transport": "WebSocket, Noise" if certificate is None else "TLS 1.3, WebSocket, Noise",
        "durability": "the ack waits for the commit: PostgreSQL 18, fsync and synchronous_commit on",
        "connections": str(len(house.seats)),
    }
    return Served(NAME, (HOST, port), dial, pid, {POSTGRES: house.postgres}, settings)


def _environ(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VARDE_")}
    return kept | {"VARDE_DATA": str(folder), "VARDE_RELAY_DRAIN_SECONDS": "1"}


def _tls_environ(certificate: Certificate | None) -> dict[str, str]:
    if certificate is None:
        return {}
    return {
        "VARDE_RELAY_TLS_CERTIFICATE": str(certificate.certificate),
        "VARDE_RELAY_TLS_KEY": str(certificate.key),
    }


def _answers(folder: Path) -> bool:
    return subprocess.run(ready_command(folder / "postgres"), check=False).returncode == 0  # noqa: S603 - our own words


def _is_said(ready: Path) -> bool:
    """The relay says one line of JSON when it is ready."""
    text = ready.read_text() if ready.exists() else ""
    return text.endswith("\n") and json.loads(text)["ready"] == "relay"
