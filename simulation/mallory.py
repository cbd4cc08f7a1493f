"""Mallory: an account of her own that breaks every rule there is, at the relay and at the API.

What she does is refused, and must leave no trace with anybody else. Without her a run reaches a tenth of the refusals
and close codes: the others are honest. She has two devices, a conversation with herself and a group that she owns.
"""

import dataclasses
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import httpx
import msgspec
import trio
from msgspec import Struct
from msgspec.structs import replace
from websockets.exceptions import WebSocketException
from websockets.trio.client import ClientConnection

from domain.people.tickets import LIFETIME, TicketIssuer
from simulation.determinism import now_ms
from simulation.devices import Device, Saved, load
from simulation.fleet import API_URL, RELAY_KEY, TICKET_KEY, ApiTransport
from simulation.observers import Observers
from varde.client import Client
from varde.crypto.pairwise import load_account
from varde.device import load_device
from varde.errors import VardeError
from varde.http import Http
from varde.reconnector import dial
from varde.rest import SESSION, AccessTokens, Rest
from varde_contract import frames as f
from varde_contract.codec import pack
from varde_contract.errors import PeerFault
from varde_contract.exception_groups import ungrouped
from varde_contract.frames import Hello
from varde_contract.ids import ClientId, ConversationId, DeviceId, ProfileId, uuid7
from varde_contract.limits import FRAMES_PER_MESSAGE, REST_BODY_BYTES
from varde_contract.noise import KeyPair
from varde_contract.rest.people import SessionTokens
from varde_contract.session import PROTOCOL_VERSION, ClientSession, Pattern, State
from varde_contract.signed_statements import KEM_KEY_BYTES, KEY_BYTES, SIGNATURE_BYTES, session_statement

if TYPE_CHECKING:
    from simulation.run import World

ADDRESS: Final = "mallory@example.org"
CUT: Final = (WebSocketException, PeerFault, OSError, trio.BrokenResourceError, trio.TooSlowError, VardeError)
"""How it ends for her: always in good order."""
STRIKES: Final = 150
"""More than the hundred after which a relay cuts (`settings.relay`)."""
NO_FRAME: Final = msgspec.msgpack.encode(["join:conversation", 5])
LONG: Final = 100.0
"""Seconds: longer than the silence after which a relay cuts (`relay.heartbeat`)."""
CODE_ENDS: Final = 650.0
"""Seconds until a mailed code has ended."""


class Unobserved(Observers):
    """Nobody promised Mallory anything: of her devices the model knows nothing, and only a crash is a violation."""

    def __init__(self, observers: Observers) -> None:
        super().__init__(observers.options)
        for name in ("connected", "heard", "shown", "disconnected", "ended", "written", "acked", "unsent"):
            setattr(self, name, _nothing)
        for name in ("note", "fault"):
            setattr(self, name, getattr(observers, name))


def _nothing(*_: object) -> None:
    return None


@dataclass(frozen=True)
class SavedMallory:
    """Mallory as she can be copied into another simulation."""

    laptop: Saved
    phone: Saved
    notes: ConversationId
    group: ConversationId


@dataclass(frozen=True)
class Mallory:
    """Her devices, of which none runs by itself, and where she is a member."""

    laptop: Device
    phone: Device
    notes: ConversationId
    group: ConversationId
    first_token: str = ""
    """The phone's, which it refreshes only when it runs: after twenty minutes it has ended."""

    @classmethod
    async def enrol(cls, world: "World", nursery: trio.Nursery) -> "Mallory":
        """Make her account, her conversation with herself and her group."""
        observers = Unobserved(world.observers)
        laptop = Device("mallory_laptop", "mallory", world.fleet, observers, world.random)
        phone = Device("mallory_phone", "mallory", world.fleet, observers, world.random)
        await laptop.enrol()
        await phone.enrol(laptop.phrase)
        await nursery.start(laptop.run)
        assert laptop.client is not None
        await laptop.client.wait_connected()
        notes, group = await laptop.client.open_self(), await laptop.client.open_group(())
        laptop.stop()
        return cls(laptop, phone, notes.id, group.id)

    def save(self) -> SavedMallory:
        """Return a copy of her."""
        return SavedMallory(self.laptop.save(), self.phone.save(), self.notes, self.group)

    @classmethod
    def load(cls, saved: SavedMallory, world: "World") -> "Mallory":
        """Return a copy of her in another simulation."""
        observers = Unobserved(world.observers)
        laptop, phone = (load(each, world.fleet, observers, world.random) for each in (saved.laptop, saved.phone))
        mallory = cls(laptop, phone, saved.notes, saved.group)
        return dataclasses.replace(mallory, first_token=_tokens(phone).access_token)


@asynccontextmanager
async def _connection(
    world: "World", hello: Hello | None = None, relay_key: bytes = RELAY_KEY.public, first: bytes = b""
) -> AsyncIterator[tuple[ClientConnection, ClientSession]]:
    """Connect to some node and come as far as Welcome. With `first`, that is the first message."""
    nodes = sorted(world.network.listeners)
    if not nodes:
        raise ConnectionRefusedError
    stream = world.network.connect("mallory", world.random.choice(nodes))
    keys, _ = load_device(world.mallory.laptop.store)
    session = ClientSession(keys.noise, hello or _hello(world), relay_key=relay_key, pattern=Pattern.IK)
    async with dial("ws://relay.simulated/v1/relay", stream) as websocket:
        await websocket.send(first or session.open())
        while session.state is not State.LIVE:
            session.receive(await websocket.recv(decode=False))
            if (reply := session.take_reply()) is not None:
                await websocket.send(reply)
        yield websocket, session


def _hello(world: "World", *, age_ms: int = 0) -> Hello:
    """Return a Hello with a ticket as the API issues them."""
    own = world.mallory.laptop.id
    issuer = TicketIssuer(TICKET_KEY.private_bytes_raw(), entropy=world.random.randbytes)
    ticket = issuer.issue(world.database.memory.devices[own], read_ms=now_ms() - age_ms)
    return Hello(PROTOCOL_VERSION, ticket.text, own)


async def _until_cut(websocket: ClientConnection) -> None:
    while True:
        await websocket.recv(decode=False)


async def _handshakes(world: "World", _: float) -> None:
    """Every handshake that must fail."""
    honest = world.devices["alice_laptop"].id
    no_key = KeyPair.from_private(b"no relay has this key as its own")
    for arguments in (
        {"hello": _hello(world, age_ms=LIFETIME + 1)},
        {"hello": replace(_hello(world), device=honest)},
        {"hello": replace(_hello(world), version=99)},
        {"hello": replace(_hello(world), ticket="")},
        {"relay_key": no_key.public},
        {"first": b"\x09" + bytes(200)},
    ):
        try:
            async with _connection(world, **arguments) as (websocket, _session):
                world.observers.fault(f"mallory came in with {sorted(arguments)}")
                await websocket.aclose()
        except CUT:
            continue


async def _garbage(world: "World", _: float) -> None:
    """A message that no session sealed."""
    async with _connection(world) as (websocket, _session):
        await websocket.send(world.random.randbytes(100))
        await _until_cut(websocket)


async def _flood(world: "World", _: float) -> None:
    """What no client sends, again and again, whatever is refused."""
    async with _connection(world) as (websocket, session):
        for _number in range(STRIKES):
            await websocket.send(session.seal(pack([NO_FRAME])))
        await _until_cut(websocket)


async def _deaf(world: "World", seconds: float) -> None:
    """Asks for a lot, and reads nothing of it."""
    async with _connection(world) as (websocket, session):
        _stop_reading(world, seconds)
        for _number in range(STRIKES):  # of what costs no look into the database, which is not what is tried here
            await websocket.send(session.send(*[f.Probe(b"")] * FRAMES_PER_MESSAGE))
        await _until_cut(websocket)


async def _silent(world: "World", seconds: float) -> None:
    """Asks for nothing either, not even to be taken for alive."""
    async with _connection(world) as (websocket, session):
        await websocket.send(session.send(f.Probe(b"")))
        await trio.sleep(1.0)
        _stop_reading(world, seconds)
        await _until_cut(websocket)


async def _lurks(world: "World", seconds: float) -> None:
    """Stays, and does not go when it is asked to; then the same device comes once more."""
    async with _connection(world) as (websocket, session):
        await websocket.send(session.send(f.Probe(b"")))
        with trio.move_on_after(10 * seconds):
            await _until_cut(websocket)
        async with _connection(world) as (second, other):
            await second.send(other.send(f.Probe(b"")))
            await _until_cut(websocket)


def _stop_reading(world: "World", seconds: float) -> None:
    link = world.network.links_of(owner="mallory")[-1]
    link.client.reads_from = trio.current_time() + LONG + seconds


async def _frames(world: "World", _: float) -> None:
    """Every frame that must be refused."""
    mallory = world.mallory
    notes, own, other = mallory.notes, mallory.laptop.profile, world.devices["alice_laptop"].profile
    async with _connection(world) as (websocket, session):

        def message(profile: ProfileId, **more: Any) -> f.Send:
            return f.Send(ClientId(_made_up(world)), notes, profile, 1, **more)

        def tell(*frames: Struct) -> Awaitable[None]:
            return websocket.send(session.send(*frames))

        await tell(f.Join(world.talks["group"]), f.Delivered(notes, 1), f.Join(notes, 10**9))
        await tell(f.Join(notes))
        await trio.sleep(1.0)
        await tell(f.Read(notes, own, 10**9), f.Read(notes, other, 1), message(other, group=b"x"))
        await tell(message(own, devices={DeviceId(_made_up(world)): b"x"}), message(own), f.Sync(notes, 10**9))
        await tell(*[f.Sync(notes, 1)] * 40)
        await tell(*[message(own, devices={mallory.phone.id: b"x"})] * 30)
        await tell(*[f.Typing(notes, own, True)] * 60)
        await websocket.send(session.seal(pack([NO_FRAME])))
        await trio.sleep(5.0)


async def _requests(world: "World", seconds: float) -> None:
    """Every request that must be refused."""
    mallory = world.mallory
    async with Http(API_URL, transport=ApiTransport(world.fleet)) as client:
        await Rest(client, AccessTokens(mallory.laptop.store, client)).account()  # which refreshes them
    tokens = _tokens(mallory.laptop)
    keys = {"Authorization": f"Bearer {tokens.access_token}"}
    async with httpx.AsyncClient(transport=ApiTransport(world.fleet), base_url=API_URL) as http:

        async def ask(method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
            return await http.request(method, path, json=body, headers=keys, **more)

        for token in ("nobody", mallory.first_token):
            await http.get("/v1/account", headers={"Authorization": f"Bearer {token}"})
        json = {"Content-Type": "application/json"}
        await http.post("/v1/auth/codes", content=b"{", headers=json)
        await http.post("/v1/auth/codes", content=b"x" * (REST_BODY_BYTES + 1), headers=json)
        await http.post("/v1/auth/codes", content=b"{}", headers={"Content-Type": "text/plain"})
        await ask("DELETE", "/v1/relay")
        await ask("GET", "/v1/nothing")
        no_key = {"key": _text(KEY_BYTES), "kem_key": _text(KEM_KEY_BYTES), "signature": _text(SIGNATURE_BYTES)}
        await ask("POST", "/v1/prekeys", {"one_time_keys": [no_key]})
        await ask("PUT", "/v1/device-list", {"list": _text(100)})
        await ask("PUT", f"/v1/devices/{mallory.phone.id}/session", {"signature": _text(SIGNATURE_BYTES)})
        for _number in range(25):
            await ask(
                "POST",
                "/v1/prekeys/claim",
                {"conversation": str(mallory.notes), "devices": [str(mallory.phone.id)]},
            )
        proof = load_account(mallory.phone.store).sign(session_statement(tokens.session, mallory.phone.id))
        await ask("PUT", f"/v1/devices/{mallory.phone.id}/session", {"signature": _base64(proof)})
        await _codes(world, http, seconds)


async def _codes(world: "World", http: httpx.AsyncClient, seconds: float) -> None:
    async def sign_in(code: str) -> httpx.Response:
        return await http.post("/v1/auth/session", json={"email": ADDRESS, "code": code})

    await http.post("/v1/auth/codes", json={"email": ADDRESS})
    fresh = await sign_in(world.fleet.mail.code_for(ADDRESS))
    if not fresh.is_error:
        bearer = {"Authorization": f"Bearer {fresh.json()['access_token']}"}
        await http.post("/v1/relay/tickets", headers=bearer)
    await http.post("/v1/auth/codes", json={"email": ADDRESS})
    for _number in range(7):
        await sign_in("00000000")
    for _number in range(10):
        await http.post("/v1/auth/codes", json={"email": ADDRESS})
    await trio.sleep(CODE_ENDS + seconds)
    await sign_in(world.fleet.mail.code_for(ADDRESS))


async def _moves(world: "World", _: float) -> None:
    """Statements and lists of which only one can be the next, from both devices at once; then she leaves."""
    laptop, phone = world.mallory.laptop, world.mallory.phone
    guest, group = world.devices["carol_phone"].profile, world.mallory.group

    async def invite(client: Client) -> None:
        await client.conversation(group).invite(guest)
        await client.conversation(group).remove(guest)

    async def change_list(client: Client) -> None:
        await client.own_list.set_valid_until(phone.id, None)
        await client.own_list.set_valid_until(
            phone.id, datetime.fromtimestamp(now_ms() / 1_000, UTC) + timedelta(days=9)
        )

    async with trio.open_nursery() as running:
        for device in (laptop, phone):
            if device.client is None:
                running.start_soon(device.run)
        await trio.sleep(5.0)
        for change in (invite, change_list, _block_oneself):
            async with trio.open_nursery() as both:
                for device in (laptop, phone):
                    both.start_soon(device.do, change)
        laptop.stop()
        phone.stop()


async def _block_oneself(client: Client) -> None:
    await client.block(client.identity.account)


TRICKS: Final[dict[str, Callable[["World", float], Awaitable[None]]]] = {
    "handshakes": _handshakes,
    "garbage": _garbage,
    "flood": _flood,
    "deaf": _deaf,
    "lurks": _lurks,
    "silent": _silent,
    "frames": _frames,
    "requests": _requests,
    "moves": _moves,
}


async def perform_trick(world: "World", name: str, seconds: float) -> None:
    """Do one of them, as far as faults allow."""
    try:
        with ungrouped():
            await TRICKS[name](world, seconds)
    except (*CUT, httpx.TransportError):
        world.observers.note(f"mallory is cut off {name}")


def _tokens(device: Device) -> SessionTokens:
    tokens = device.store.settings.find(SESSION, SessionTokens)
    assert tokens is not None
    return tokens


def _made_up(world: "World") -> ConversationId:
    return ConversationId(uuid7(now_ms(), world.random.randbytes(10)))


def _text(size: int) -> str:
    return _base64(bytes(size))


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
