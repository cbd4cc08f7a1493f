"""A live API over memory stores, on a real socket, and a client of it: for everything that is not about Postgres."""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import httpx
import msgspec
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct

from api.app import create_app
from api.http.serving import serve_api
from api.services import Keys, Services, make_services
from domain.budgets import ALLOWANCES, Allowance, Budget, Budgets
from domain.ports import Stores
from settings.api import ApiSettings, Timeouts
from simulation.stores import open_memory_stores
from simulation.stores.bus import RecordingBus
from simulation.stores.clock import DeterministicEntropy, ManualClock
from simulation.stores.interference import Interference
from simulation.stores.mail import RecordingMail
from simulation.stores.memory import Memory
from tests.cast import CastDevice, settle
from varde_contract.ids import decode_text_id
from varde_contract.refusals import RefusalCode

TICKET_KEY = Ed25519PrivateKey.from_private_bytes(b"t" * 32)
KEYS = Keys(
    relay_public=b"r" * 32,
    relay_kem_public=b"k" * 1_184,
    ticket_private=TICKET_KEY.private_bytes_raw(),
    pepper=b"p" * 32,
)
CONFIG = ApiSettings(port=0, sign_in_burst=1_000)
PROBLEM = "application/problem+json"

T = TypeVar("T", bound=Struct)


@dataclass
class MemoryApi:
    """The API as a test sees it. `client` is nobody; `as_device` signs a request."""

    client: httpx.AsyncClient
    address: str
    stores: Stores
    services: Services
    stopping: trio.Event
    stopped: trio.Event
    memory: Memory = field(default_factory=Memory)
    bus: RecordingBus = field(default_factory=RecordingBus)
    mail: RecordingMail = field(default_factory=RecordingMail)
    clock: ManualClock = field(default_factory=ManualClock)
    interference: Interference = field(default_factory=Interference)

    async def ask(self, method: str, path: str, *, by: CastDevice | str | None = None, **more: Any) -> httpx.Response:
        """Send a request, signed by a device of the cast or with a token as it is."""
        headers = dict(more.pop("headers", {}))
        if by is not None:
            headers["Authorization"] = f"Bearer {by.access_token if isinstance(by, CastDevice) else by}"
        return await self.client.request(method, path, headers=headers, **more)

    async def connect(self) -> trio.SocketStream:
        """Open a raw connection."""
        host, _, port = self.address.rpartition(":")
        return await trio.open_tcp_stream(host, int(port))


_NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Otherwise each client would read a hundred authorities from a file, longer than most tests here take."""


@asynccontextmanager
async def open_memory_api(
    config: ApiSettings = CONFIG,
    *,
    allowances: Mapping[Budget, Allowance] = ALLOWANCES,
    timeouts: Timeouts | None = None,
    known: bool = True,
    budget_clock: ManualClock | None = None,
) -> AsyncIterator[MemoryApi]:
    """Serve the API; with `known`, the whole cast is registered."""
    memory, bus, mail, clock, interference = Memory(), RecordingBus(), RecordingMail(), ManualClock(), Interference()
    stores = open_memory_stores(interference=interference, bus=bus, memory=memory)
    if known:
        await settle(stores)
    if timeouts is not None:
        config = ApiSettings(**{**vars(config), "timeouts": timeouts})
    services = make_services(
        config,
        stores,
        mail,
        KEYS,
        Budgets(clock=clock if budget_clock is None else budget_clock, allowances=allowances),
        clock=clock,
        entropy=DeterministicEntropy(),
    )
    async with serve_services(services) as (address, stopping, stopped), open_client(address) as client:
        yield MemoryApi(client, address, stores, services, stopping, stopped, memory, bus, mail, clock, interference)


def open_client(address: str) -> httpx.AsyncClient:
    """Return a client of the API at this address."""
    return httpx.AsyncClient(base_url=f"http://{address}", timeout=10, verify=_NO_TLS)


@asynccontextmanager
async def serve_services(
    services: Services, *, tls: Callable[[], ssl.SSLContext] | None = None
) -> AsyncIterator[tuple[str, trio.Event, trio.Event]]:
    """Serve on a free port until the block ends; the address, what stops it in good order, and what is set then."""
    stopping, stopped = trio.Event(), trio.Event()

    async def serve(task_status: trio.TaskStatus[str]) -> None:
        app = create_app(services)
        await serve_api(services.config, app, services.metrics, stopping=stopping, tls=tls, task_status=task_status)
        stopped.set()

    async with trio.open_nursery() as nursery:
        yield await nursery.start(serve), stopping, stopped
        nursery.cancel_scope.cancel()


class DeviceClient:
    """Asks as one device, expects a status, and reads the body as what the contract says it is."""

    def __init__(self, api: MemoryApi, by: CastDevice) -> None:
        self._face = api
        self._by = by

    async def get(self, kind: type[T], path: str, **query: Any) -> T:
        """Expect 200."""
        return await self._ask(kind, 200, "GET", path, params=query)

    async def post(self, kind: type[T], path: str, body: object = None, *, status: int = 201) -> T:
        """Expect 201, or what the test says."""
        return await self._ask(kind, status, "POST", path, json=body)

    async def put(self, kind: type[T], path: str, body: object, status: int = 200) -> T:
        """Expect 200, or what is said."""
        return await self._ask(kind, status, "PUT", path, json=body)

    async def delete(self, path: str, **query: Any) -> None:
        """Expect 204."""
        response = await self._face.ask("DELETE", path, by=self._by, params=query)
        assert (response.status_code, response.content) == (204, b""), response.text

    async def _ask(self, kind: type[T], status: int, method: str, path: str, **more: Any) -> T:
        response = await self._face.ask(method, path, by=self._by, **more)
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/json"
        assert response.headers["cache-control"] == "no-store"
        return msgspec.json.decode(response.content, type=kind, dec_hook=decode_text_id)


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
