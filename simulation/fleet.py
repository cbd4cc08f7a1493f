"""The servers of a simulation: relay nodes that start, drain and die, one API, and the worker's signing of the log."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from random import Random
from typing import Any, Final

import httpx
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import relay.cache.epochs
import relay.heartbeat
import relay.node
from api.app import create_routes
from api.operation import SERVICES
from api.services import Keys
from api.services import make_services as make_api_services
from domain.budgets import ALLOWANCES, Budgets
from domain.ports import StoreUnavailable
from domain.transparency.sequencing import sequence
from relay.node import run_node
from relay.services import Dependencies, Services
from relay.services import make_services as make_node_services
from settings.api import ApiSettings
from settings.relay import RelaySettings
from simulation.bus import SimulatedBus
from simulation.database import Database, Process
from simulation.determinism import now_ms, replaced
from simulation.network import Network
from simulation.stores.mail import RecordingMail
from varde_contract.kem import MlKemKeyPair
from varde_contract.noise import KeyPair
from varde_contract.refusals import RefusalCode
from varde_contract.transparency.checkpoint import log_signers

RELAY_KEY: Final = KeyPair.from_private(b"the key of every simulated relay")
RELAY_KEM: Final = MlKemKeyPair(b"the post-quantum seed of every relay of all of these simulations"[:64])
TICKET_KEY: Final = Ed25519PrivateKey.from_private_bytes(b"the tickets of the simulated API"[:32])
SIGNERS: Final = log_signers("log.simulated/varde", b"e" * 32, b"m" * 32)
API_URL: Final = "http://api.simulated"
LOOK_PAUSE: Final = 5.0
"""Seconds between two looks of a node at its epochs, and at who is silent; one second in truth."""
SIGN_PAUSE: Final = 20.0
"""Seconds between two looks of the worker; one second in truth. A list may be used for a minute before it is logged."""


@dataclass(eq=False)
class Node:
    """One place in the fleet. Each start in it is a new process with a new name."""

    host: str
    process: Process
    stop: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    services: Services | None = None


class Fleet:
    """The servers. `note` is told what happens, `fault` what must not."""

    def __init__(
        self,
        network: Network,
        database: Database,
        bus: SimulatedBus,
        random: Random,
        settings: RelaySettings,
        *,
        note: Callable[[str], None],
        fault: Callable[[str], None],
    ) -> None:
        self.network, self.database, self.bus = network, database, bus
        self.nodes: dict[str, Node] = {}
        # Of nodes that have died as well: what they counted is part of the report.
        self.all_services: list[Services] = []
        self.mail = RecordingMail()
        self.api_away = False
        self.lose_responses = 0.0
        self.refusals: dict[str, int] = {}
        self._random = random
        self._settings = settings
        self._note, self._fault = note, fault
        self._nursery: trio.Nursery | None = None
        self._app = _routes()
        process = Process("api")
        stores = database.open_stores(process, bus.open(process))
        self._log = stores.transparency
        keys = Keys(
            relay_public=RELAY_KEY.public,
            relay_kem_public=RELAY_KEM.public,
            ticket_private=TICKET_KEY.private_bytes_raw(),
            pepper=b"p" * 32,
        )
        config = ApiSettings(relay_url="ws://relay.simulated/v1/relay", sign_in_burst=1_000)
        budgets = Budgets(clock=now_ms, allowances=ALLOWANCES)
        services = make_api_services(config, stores, self.mail, keys, budgets, clock=now_ms, entropy=random.randbytes)
        self._app.extensions[SERVICES] = services

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Watch nodes being made, and leave out what they do about real time: the loop's lateness, Python's garbage."""
        with ExitStack() as stack:
            stack.enter_context(replaced(relay.node, "make_services", self._make_services))
            for name in ("run_loop_lateness", "run_garbage_collection"):
                stack.enter_context(replaced(relay.node, name, _nothing))
            # Two looks a second by each node, at next to nothing, were half of what a virtual hour cost.
            stack.enter_context(replaced(relay.cache.epochs, "PERIOD", LOOK_PAUSE))
            stack.enter_context(replaced(relay.heartbeat, "ROUND", LOOK_PAUSE))
            yield

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the processes, and sign the log, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            while True:
                try:
                    await sequence(self._log, SIGNERS, now_ms())
                except StoreUnavailable:
                    self._note("log not signed")
                await trio.sleep(SIGN_PAUSE)

    def start(self, host: str) -> None:
        """Start a node where there is none."""
        if host not in self.nodes and self._nursery is not None:
            node = self.nodes[host] = Node(host, Process(host))
            node.process.die = partial(self.kill, host, silent=False)
            self._nursery.start_soon(self._run, node)

    def kill(self, host: str, *, silent: bool) -> None:
        """A node dies between two instructions: what it sends, stores and publishes from now on reaches nobody."""
        node = self.nodes.pop(host, None)
        if node is not None:
            self._note(f"{host} dies{' silently' if silent else ''}")
            node.process.dead = True
            self.network.kill_node(host, silent=silent)
            node.scope.cancel()

    def drain(self, host: str) -> None:
        """Ask a node to go in good order."""
        if host in self.nodes:
            self._note(f"{host} drains")
            self.nodes[host].stop.set()

    async def _run(self, node: Node) -> None:
        dependencies = Dependencies(
            static=RELAY_KEY,
            kem=RELAY_KEM,
            ticket_publics=[TICKET_KEY.public_key().public_bytes_raw()],
            clock=now_ms,
            monotonic_clock=now_ms,
            entropy=self._random.randbytes,
            random=Random(self._random.random()),
        )
        stores = self.database.open_stores(node.process, self.bus.open(node.process))
        settings = replace(self._settings, host=node.host)
        with node.scope:
            try:
                await run_node(settings, stores, dependencies, node.stop)
            except StoreUnavailable:
                self._note(f"{node.host} could not start")
            except Exception as surprise:  # noqa: BLE001 - whatever it is, it ends the node and is a finding
                self._fault(f"{node.host} ended with {surprise!r}")
            else:
                self._check_drained(node)
        node.ended.set()
        if self.nodes.get(node.host) is node:
            del self.nodes[node.host]
            self._note(f"{node.host} has ended")
            # The kernel closes what the process left open.
            self.network.kill_node(node.host, silent=False)

    def _make_services(self, settings: RelaySettings, *arguments: Any) -> Services:
        """Make the parts of a node, and keep hold of them: for the metrics, and to ask what a drain left."""
        services = make_node_services(settings, *arguments)
        self.nodes[settings.host].services = services
        self.all_services.append(services)
        return services

    def _check_drained(self, node: Node) -> None:
        services = node.services
        database = self.database
        may_fail = database.away or database.silent or database.lose_answers or node.process.away
        if services is not None and not may_fail and not (services.journal.idle and services.receipts.idle):
            self._fault(f"{node.host} drained with work left")

    async def call_api(self, request: httpx.Request) -> httpx.Response:
        """Let the API answer, in a task of its own: a client that goes away does not stop it."""
        await self._travel(request)
        assert self._nursery is not None
        send, receive = trio.open_memory_channel[httpx.Response](1)
        self._nursery.start_soon(self._answer, request, send)
        response = await receive.receive()
        await self._travel(request)
        if self._random.random() < self.lose_responses:
            raise httpx.ReadError("the simulated response was lost", request=request)
        return response

    async def _answer(self, request: httpx.Request, send: trio.MemorySendChannel[httpx.Response]) -> None:
        async with httpx.ASGITransport(app=self._app) as transport:
            response = await transport.handle_async_request(request)
            await response.aread()
        if response.is_error:
            code = response.json().get("code", str(response.status_code))
            self.refusals[code] = self.refusals.get(code, 0) + 1
            if code == RefusalCode.INTERNAL:
                self._fault(f"{request.method} {request.url.path} was answered with {code}")
        send.send_nowait(response)

    async def _travel(self, request: httpx.Request) -> None:
        await trio.sleep(self._random.uniform(0.005, 0.05))
        if self.api_away:
            raise httpx.ConnectError("the simulated API is away", request=request)


class ApiTransport(httpx.AsyncBaseTransport):
    """How clients reach the API."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Ask the API."""
        response = await self._fleet.call_api(request)
        return httpx.Response(response.status_code, headers=response.headers, content=response.content)


@cache
def _routes() -> Any:
    """The API's application, made once: it takes a third of a second, and holds nothing of one simulation."""
    app = create_routes()
    app.config["BODY_TIMEOUT"] = app.config["RESPONSE_TIMEOUT"] = None
    return app


async def _nothing(_: object) -> None:
    await trio.sleep_forever()
