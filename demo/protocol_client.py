"""A device that speaks the protocol without the SDK's client, to do what that client never would.

It opens the same folder as the SDK, so the device must not be online meanwhile.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio
from msgspec import Struct
from websockets.exceptions import ConnectionClosed
from websockets.trio.client import ClientConnection
from websockets.trio.client import connect as connect_websocket
from websockets.typing import Subprotocol

from demo.people import Device
from varde.clock import fresh_id, now_ms
from varde.crypto.keychain import Keychain
from varde.device import API_URL, load_device
from varde.http import Http
from varde.identity import own_profile
from varde.reconnector import RELAY, TICKET
from varde.rest import AccessTokens, Rest
from varde.store import Store, open_store
from varde.store.outbox import Draft, DraftKind
from varde_contract.bodies import Text
from varde_contract.frames import Ack, ClientFrame, Hello, RefusedFrame, Send, ServerFrame, subject_of
from varde_contract.ids import ClientId, ConversationId, DeviceId
from varde_contract.limits import NOISE_MESSAGE_BYTES
from varde_contract.rest.people import PrekeyClaim, RelayAddress, RelayTicket
from varde_contract.rest.talk import ConversationView, NewMessage
from varde_contract.session import PROTOCOL_VERSION, SUBPROTOCOL, ClientSession, Pattern


class Closed(Exception):
    """The relay closed the connection; `code` is its close code, None when it said none."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"the relay closed with {code}")
        self.code = code


class RelayConnection:
    """One relay connection past its handshake."""

    def __init__(self, websocket: ClientConnection, session: ClientSession) -> None:
        self._websocket = websocket
        self._session = session
        self._waiting: list[ServerFrame] = []
        self.received: list[ServerFrame] = []

    async def send(self, frame: Struct) -> None:
        """Send a frame. Raises Closed."""
        try:
            await self._websocket.send(self._session.send(frame))
        except ConnectionClosed as closed:
            raise Closed(closed.rcvd.code if closed.rcvd else None) from None

    async def receive(self) -> ServerFrame:
        """Return the next frame. Raises Closed."""
        while not self._waiting:
            await self._read()
        return self._waiting.pop(0)

    async def wait(self, fits: Callable[[ServerFrame], bool]) -> ServerFrame:
        """Return the next frame that fits; others before it are dropped. The caller sets a deadline."""
        while True:
            frame = await self.receive()
            if fits(frame):
                return frame

    async def request(self, frame: ClientFrame) -> ServerFrame:
        """Send a frame and return what answers it: its ack or its refusal."""
        await self.send(frame)
        subject = subject_of(frame)
        return await self.wait(
            lambda answer: (
                (isinstance(answer, Ack) and answer.client_id == subject)
                or (isinstance(answer, RefusedFrame) and answer.subject == subject)
            )
        )

    async def handshake(self) -> None:
        """Walk through the handshake, up to and with Welcome. Raises Closed."""
        await self._websocket.send(self._session.open())
        while not self._waiting:
            await self._read()
            reply = self._session.take_reply()
            if reply is not None:
                await self._websocket.send(reply)
        self._waiting.pop(0)

    async def _read(self) -> None:
        try:
            message = await self._websocket.recv(decode=False)
        except ConnectionClosed as closed:
            raise Closed(closed.rcvd.code if closed.rcvd else None) from None
        frames = self._session.receive(message)
        self._waiting += frames
        self.received += frames


class ProtocolClient:
    """One device's keys and sessions, opened by hand."""

    def __init__(self, store: Store, http: Http) -> None:
        self.keys, self.identity = load_device(store)
        self.http = http
        self.rest = Rest(http, AccessTokens(store, http))
        self._store = store
        self._keychain = Keychain(store, self.keys.own)

    async def seal(self, view: ConversationView, text: str) -> Send:
        """Seal a text for every device of a roster, as the SDK does."""
        draft = Draft(
            view.conversation,
            ClientId(fresh_id()),
            DraftKind.TEXT,
            own_profile(view, self.identity),
            now_ms(),
            Text(text),
        )
        missing = self._keychain.without_session(view)
        claimed = await self.rest.claim_prekeys(PrekeyClaim(view.conversation, missing)) if missing else None
        with self._store.transaction():
            self._keychain.trust.accept_roster(view)
            if claimed is not None:
                self._keychain.start_sessions(view, claimed)
            ready = self._keychain.encrypt_for_each(view, draft, Text(text))
        return Send(draft.client_id, view.conversation, draft.profile, ready.roster_version, devices=ready.devices)

    def kept_ticket(self) -> str:
        """The ticket that the SDK's client got and kept."""
        kept = self._store.settings.find(TICKET, RelayTicket)
        assert kept is not None, "this device was online before"
        return kept.ticket

    def invalid_message(self, conversation: ConversationId, devices: dict[DeviceId, bytes]) -> Send:
        """A message that no key made, as this device's first profile."""
        return Send(ClientId(fresh_id()), conversation, self.identity.profiles[0].id, 1, devices=devices)

    @asynccontextmanager
    async def open_connection(self, ticket: str | None = None) -> AsyncIterator[RelayConnection]:
        """Connect to the relay with this ticket, or with a new one. Raises Closed, and what the API raises."""
        address = self._store.settings.find(RELAY, RelayAddress) or await self.rest.relay()
        hello = Hello(PROTOCOL_VERSION, ticket or (await self.rest.ticket()).ticket, self.keys.own.device)
        session = ClientSession(
            self.keys.noise,
            hello,
            relay_key=address.static_key,
            pattern=Pattern.XXpsk3,
            relay_kem=address.kem_key,
        )
        opening = connect_websocket(
            address.url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            max_size=NOISE_MESSAGE_BYTES,
            user_agent_header=None,
        )
        async with opening as websocket:
            connection = RelayConnection(websocket, session)
            await connection.handshake()
            yield connection


@asynccontextmanager
async def open_protocol_client(device: Device) -> AsyncIterator[ProtocolClient]:
    """Open a device's folder for the block."""
    async with open_store(device.home, device.unlock) as store:
        api_url = store.settings.find(API_URL, str)
        assert api_url is not None
        async with Http(api_url) as http:
            yield ProtocolClient(store, http)
            await trio.lowlevel.checkpoint()


def as_body(send: Send) -> NewMessage:
    """The same message for the API instead of the relay."""
    return NewMessage(send.client_id, send.conversation, send.profile, send.roster_version, send.group, send.devices)
