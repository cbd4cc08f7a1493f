"""The link to the relay: connects, authenticates, and comes back by itself for as long as the client lives."""

import logging
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

import trio
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.trio.client import ClientConnection
from websockets.trio.client import connect as connect_websocket
from websockets.typing import Subprotocol

from varde.backoff import Backoff
from varde.device import DeviceKeys
from varde.errors import Busy, DeviceRevoked, Ended, LinkRefused, Refusal, Replaced, Unreachable, VardeError
from varde.line import SECONDS_PER_MS, Line, Parted, close_for, parted_from
from varde.rest import Rest
from varde.store import Store
from varde_contract.closing import CloseCode
from varde_contract.errors import PeerFault
from varde_contract.frames import Goaway, Hello, ServerFrame, Welcome
from varde_contract.limits import HANDSHAKE_DEADLINE_MS, NOISE_MESSAGE_BYTES
from varde_contract.rest.relay import RelayAddress, RelayTicket
from varde_contract.session import PROTOCOL_VERSION, SUBPROTOCOL, ClientSession, Pattern

TICKET = "ticket"
RELAY = "relay"
EARLY = timedelta(minutes=5)
STEADY_SECONDS = 5.0
"""A connection that lived this long was a good one: the next try starts from a short pause again."""
CLOSE_SECONDS = 2.0
BAD_TICKETS = 3
"""Fresh tickets refused in a row before the client gives up."""

_logger = logging.getLogger("varde.websocket")
_logger.setLevel(logging.WARNING)  # below that, websockets logs what it sends and receives


class Listening(Protocol):
    """Who is told of the link's life."""

    def up(self, line: Line) -> None:
        """Welcome has come."""

    def take(self, frames: Sequence[ServerFrame]) -> None:
        """These came, in order."""

    def down(self, why: str, retry_in_s: float | None) -> None:
        """The connection, or the try at one, is over. None: there will be no other."""


class _Way(NamedTuple):
    address: RelayAddress
    ticket: RelayTicket
    pattern: Pattern


def dial(url: str, stream: trio.abc.Stream | None = None) -> connect_websocket:
    """Return the WebSocket connection to a relay, not opened yet; over `stream` when that is there already."""
    return connect_websocket(
        url,
        stream=stream,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        compression=None,
        max_size=NOISE_MESSAGE_BYTES,
        open_timeout=HANDSHAKE_DEADLINE_MS * SECONDS_PER_MS,
        ping_interval=None,  # the pulse is the line's, at the relay's pace
        close_timeout=CLOSE_SECONDS,
        user_agent_header=None,
        logger=_logger,
    )


class Link:
    """Keeps one connection. `run` is its life."""

    def __init__(
        self,
        store: Store,
        rest: Rest,
        keys: DeviceKeys,
        listening: Listening,
        *,
        dial: Callable[[str], connect_websocket] = dial,
    ) -> None:
        self._dial = dial
        self._store = store
        self._rest = rest
        self._keys = keys
        self._listening = listening
        self._pattern = Pattern.IK
        self._bad_tickets = 0
        self._backoff = Backoff()
        self._line: Line | None = None

    async def run(self) -> VardeError:
        """Connect again and again; return why there is no point in going on."""
        while True:
            began = trio.current_time()
            parted = await self._once()
            if isinstance(parted, VardeError):
                self._listening.down(parted.code, None)
                return parted
            if trio.current_time() - began >= STEADY_SECONDS:
                self._backoff.reset()
            end = self._judge(parted)
            if end is not None:
                self._listening.down(parted.why, None)
                return end
            pause = self._pause(parted)
            self._listening.down(parted.why, pause)
            await trio.sleep(pause)

    async def aclose(self) -> None:
        """Say goodbye if there is somebody to say it to. The caller sets a deadline."""
        if self._line is not None:
            await self._line.aclose()

    async def _once(self) -> Parted | VardeError:
        try:
            way = await self._find_way()
        except Busy as fault:
            return Parted(fault.code, None, _asked_to_wait(fault))
        except Unreachable as fault:
            return Parted(fault.code)
        except Refusal as fault:
            return fault
        try:
            return await self._live(way)
        except ConnectionClosed as closed:
            return parted_from(closed)
        except PeerFault as fault:
            return Parted(fault.close_code.label, fault.close_code)
        except (OSError, WebSocketException, trio.BrokenResourceError, trio.TooSlowError):
            return Parted("the relay does not answer")

    async def _find_way(self) -> _Way:
        address = self._store.settings.find(RELAY, RelayAddress)
        if address is None:
            address = await self._rest.relay()
            self._keep(RELAY, address)
        ticket = self._store.settings.find(TICKET, RelayTicket)
        if ticket is None or ticket.expires_at - EARLY <= datetime.now(UTC):
            ticket = await self._rest.ticket()
            self._keep(TICKET, ticket)
        return _Way(address, ticket, self._pattern)

    async def _live(self, way: _Way) -> Parted:
        deadline = trio.current_time() + HANDSHAKE_DEADLINE_MS * SECONDS_PER_MS
        async with self._dial(way.address.url) as websocket:
            with trio.fail_at(deadline):
                line, rest = await self._greet(websocket, way)
            self._pattern, self._bad_tickets, self._line = Pattern.IK, 0, line
            try:
                self._listening.up(line)
                self._listening.take(rest)
                return await line.run(self._listening.take)
            finally:
                self._line = None

    async def _greet(self, websocket: ClientConnection, way: _Way) -> tuple[Line, Sequence[ServerFrame]]:
        hello = Hello(PROTOCOL_VERSION, way.ticket.ticket, self._keys.own.device)
        # After XX the session compares the key that the relay showed with the one the API named.
        session = ClientSession(self._keys.noise, hello, relay_key=way.address.static_key, pattern=way.pattern)
        try:
            await websocket.send(session.open())
            while True:
                frames = session.receive(await websocket.recv(decode=False))
                reply = session.take_reply()
                if reply is not None:
                    await websocket.send(reply)
                if frames:
                    welcome, *rest = frames
                    assert isinstance(welcome, Welcome), "the session lets nothing else be first"
                    return Line(websocket, session, welcome), rest
        except PeerFault as fault:
            await close_for(websocket, fault)
            raise

    def _judge(self, parted: Parted) -> Ended | None:
        """Return the error a close code ends the client with; otherwise forget what it says is no longer good."""
        match parted.closing:
            case CloseCode.REVOKED:
                return DeviceRevoked("this device was revoked")
            case CloseCode.REPLACED:
                return Replaced("the same device connected from somewhere else")
            case CloseCode.BAD_TICKET | CloseCode.TICKET_EXPIRED as code:
                self._bad_tickets += 1
                self._forget(TICKET)
                return LinkRefused(code) if self._bad_tickets > BAD_TICKETS else None
            case CloseCode.HANDSHAKE_FAILED:
                self._pattern = Pattern.XX
                self._forget(RELAY)
                return None
            case code:
                return None if code is None or code.comes_back else LinkRefused(code)

    def _pause(self, parted: Parted) -> float:
        if parted.goaway is None:
            return self._backoff.next()
        after, jitter = parted.goaway.after_ms, parted.goaway.jitter_ms
        return (after + random.uniform(0, jitter)) * SECONDS_PER_MS  # noqa: S311 - jitter is no secret

    def _keep(self, name: str, value: object) -> None:
        with self._store.transaction():
            self._store.settings.put(name, value)

    def _forget(self, name: str) -> None:
        with self._store.transaction():
            self._store.settings.remove(name)


def _asked_to_wait(fault: Busy) -> Goaway | None:
    """Return the API's "not now" in the relay's words, so that both are waited for in the same way."""
    after_ms = fault.retry_after_ms
    return None if after_ms is None else Goaway(CloseCode.OVERLOADED, after_ms, jitter_ms=after_ms // 2)
