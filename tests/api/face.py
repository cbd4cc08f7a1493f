"""A live API over memory stores, on a real socket, and a client of it: for everything that is not about Postgres."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.app import create_app
from api.http.serving import serve_api
from api.world import Keys, World, make_world
from domain.ports import Stores
from settings.api import Allowance, ApiSettings, Patience
from tests.cast import Gear, settle
from tests.doubles.bus import RecordingBus
from tests.doubles.clock import CountedEntropy, StandingClock
from tests.doubles.interference import Interference
from tests.doubles.mail import RecordingMail
from tests.doubles.memory import Memory
from tests.doubles.stores import open_memory_stores
from varde_contract.refusals import RefusalCode

TICKET_KEY = Ed25519PrivateKey.from_private_bytes(b"t" * 32)
KEYS = Keys(relay_public=b"r" * 32, ticket_private=TICKET_KEY.private_bytes_raw(), pepper=b"p" * 32)
CONFIG = ApiSettings(port=0, sign_in=Allowance(burst=1_000))
PROBLEM = "application/problem+json"


@dataclass
class Face:
    """The API as a test sees it. `client` is nobody; `as_device` signs a request."""

    client: httpx.AsyncClient
    address: str
    stores: Stores
    world: World
    stopping: trio.Event
    stopped: trio.Event
    memory: Memory = field(default_factory=Memory)
    bus: RecordingBus = field(default_factory=RecordingBus)
    mail: RecordingMail = field(default_factory=RecordingMail)
    clock: StandingClock = field(default_factory=StandingClock)
    interference: Interference = field(default_factory=Interference)

    async def ask(self, method: str, path: str, *, by: Gear | str | None = None, **more: Any) -> httpx.Response:
        """Send a request, signed by a device of the cast or with a token as it is."""
        headers = dict(more.pop("headers", {}))
        if by is not None:
            headers["Authorization"] = f"Bearer {by.access_token if isinstance(by, Gear) else by}"
        return await self.client.request(method, path, headers=headers, **more)

    async def connect(self) -> trio.SocketStream:
        """Open a raw connection."""
        host, _, port = self.address.rpartition(":")
        return await trio.open_tcp_stream(host, int(port))


@asynccontextmanager
async def open_face(
    config: ApiSettings = CONFIG, *, patience: Patience | None = None, known: bool = True
) -> AsyncIterator[Face]:
    """Serve the API; with `known`, the whole cast is registered."""
    memory, bus, mail, clock, weather = Memory(), RecordingBus(), RecordingMail(), StandingClock(), Interference()
    stores = open_memory_stores(interference=weather, bus=bus, memory=memory)
    if known:
        await settle(stores)
    if patience is not None:
        config = ApiSettings(**{**vars(config), "patience": patience})
    world = make_world(config, stores, mail, KEYS, clock=clock, entropy=CountedEntropy())
    async with serve_world(world) as (address, stopping, stopped), open_client(address) as client:
        yield Face(client, address, stores, world, stopping, stopped, memory, bus, mail, clock, weather)


def open_client(address: str) -> httpx.AsyncClient:
    """Return a client of the API at this address."""
    return httpx.AsyncClient(base_url=f"http://{address}", timeout=10)


@asynccontextmanager
async def serve_world(world: World) -> AsyncIterator[tuple[str, trio.Event, trio.Event]]:
    """Serve a world on a free port until the block ends: the address, what stops it in good order, what then is set."""
    stopping, stopped = trio.Event(), trio.Event()

    async def serve(task_status: trio.TaskStatus[str]) -> None:
        await serve_api(world.config, create_app(world), stopping=stopping, task_status=task_status)
        stopped.set()

    async with trio.open_nursery() as nursery:
        yield await nursery.start(serve), stopping, stopped
        nursery.cancel_scope.cancel()


def refusal_of(response: httpx.Response, status: int) -> RefusalCode:
    """Return the word of a problem, which this response has to be, and check what every problem has."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    assert response.headers["cache-control"] == "no-store"
    problem = response.json()
    assert problem["status"] == status
    assert problem["type"] == f"/v1/docs#{problem['code']}"
    assert problem["title"]
    assert problem["detail"]
    if "retry_after_ms" in problem:
        assert int(response.headers["retry-after"]) * 1_000 >= problem["retry_after_ms"]
    return RefusalCode(problem["code"])
