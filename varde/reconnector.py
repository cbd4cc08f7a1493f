"""The connection to the relay, opened and authenticated again and again for as long as the client lives."""

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NamedTuple, Protocol
from urllib.parse import quote

import trio
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.http11 import Response
from websockets.trio.client import ClientConnection
from websockets.trio.client import connect as connect_websocket
from websockets.typing import Subprotocol

from varde.backoff import MOST_SECONDS, Backoff
from varde.clock import now
from varde.connection import SECONDS_PER_MS, Connection, ConnectionEnd, close_for, connection_end, spread
from varde.device import DeviceKeys
from varde.errors import Busy, ConnectionRefused, DeviceRevoked, Ended, Refusal, Replaced, Unreachable, VardeError
from varde.network import proxy_of, tls_context, why_unreachable
from varde.rest import Rest
from varde.store import Store
from varde_contract.close_codes import CloseCode
from varde_contract.errors import PeerFault
from varde_contract.frames import Goaway, Hello, ServerFrame, Welcome
from varde_contract.limits import HANDSHAKE_DEADLINE_MS, NOISE_MESSAGE_BYTES
from varde_contract.rest.people import RelayAddress, RelayTicket
from varde_contract.session import PROTOCOL_VERSION, SUBPROTOCOL, ClientSession, Pattern

TICKET = "ticket"
RELAY = "relay"
EARLY = timedelta(minutes=5)
"""A ticket this close to its end is not used for a new connection."""
STABLE_SECONDS = 5.0
"""After a connection that lived this long the next attempt starts from a short pause again."""
CLOSE_SECONDS = 2.0
"""For the relay to answer a close frame. One that is gone does not, and whoever ends the program waits for this."""
BAD_TICKETS = 20
"""Fresh tickets refused in a row before the client gives up: a clock that is days off would otherwise ask for ever.
With the pauses in between it takes minutes: a node whose clock stepped must not end its clients before it is set."""

_logger = logging.getLogger("varde.websocket")
_logger.setLevel(logging.WARNING)  # below that, websockets logs what it sends and receives


class ConnectionListener(Protocol):
    """Receives what happens to the connection."""

    def on_connected(self, connection: Connection) -> None:
        """Welcome has come."""

    def on_frames(self, frames: Sequence[ServerFrame]) -> None:
        """The frames of one message came, in order."""

    def on_disconnected(self, why: str, retry_in_s: float | None) -> None:
        """The connection, or the attempt at one, is over. None: there will be no other."""


class _Route(NamedTuple):
    address: RelayAddress
    ticket: RelayTicket
    pattern: Pattern


def dial(url: str, stream: trio.abc.Stream | None = None) -> connect_websocket:
    """Return the WebSocket connection to a relay, not opened yet; over `stream` when that is there already."""
    return connect_websocket(
        url,
        stream=stream,
        ssl=tls_context() if url.startswith("wss:") else None,
        proxy=None if stream is not None else proxy_of(url),
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        max_size=NOISE_MESSAGE_BYTES,
        open_timeout=HANDSHAKE_DEADLINE_MS * SECONDS_PER_MS,
        compression=None,  # ciphertext does not compress
        ping_interval=None,  # `Connection` probes, at the interval that Welcome gives
        close_timeout=CLOSE_SECONDS,
        user_agent_header=None,
        logger=_logger,
    )


class Reconnector:
    """Keeps one connection. `run` returns only when reconnecting is of no use."""

    def __init__(
        self,
        store: Store,
        rest: Rest,
        keys: DeviceKeys,
        listener: ConnectionListener,
        *,
        dial: Callable[[str], connect_websocket] = dial,
    ) -> None:
        self._dial = dial
        self._store = store
        self._rest = rest
        self._keys = keys
        self._listener = listener
        self._pattern = Pattern.IKpsk1  # one round trip less than XX: the API has named the relay's static key
        self._bad_tickets = 0
        self._backoff = Backoff()
        self._connection: Connection | None = None
        self._asked = trio.Event()

    def reconnect(self) -> None:
        """Try now, instead of waiting for the next try."""
        self._asked.set()

    async def run(self) -> VardeError:
        """Connect again and again; return why there is no point in going on."""
        while True:
            began = trio.current_time()
            ended = await self._connect_once()
            if isinstance(ended, VardeError):
                self._listener.on_disconnected(ended.code, None)
                return ended
            if trio.current_time() - began >= STABLE_SECONDS:
                self._backoff.reset()
            end = self._final_error(ended)
            if end is not None:
                self._listener.on_disconnected(ended.why, None)
                return end
            pause = self._pause(ended)
            self._listener.on_disconnected(ended.why, pause)
            self._asked = trio.Event()
            # The pause grows all the same: a key that is held down must not be what a busy server gets from everybody.
            with trio.move_on_after(pause):
                await self._asked.wait()

    async def aclose(self) -> None:
        """Close the connection, if there is one. The caller sets a deadline."""
        if self._connection is not None:
            await self._connection.aclose()

    async def _connect_once(self) -> ConnectionEnd | VardeError:
        try:
            route = await self._find_route()
        except Busy as fault:
            return ConnectionEnd(fault.code, None, _goaway_of(fault))
        except Unreachable as fault:
            return ConnectionEnd(fault.code)
        except Refusal as fault:
            # The session is over or the device is gone: another attempt would get no ticket either.
            return fault
        try:
            return await self._serve(route)
        except ConnectionClosed as closed:
            return connection_end(closed)
        except PeerFault as fault:
            return ConnectionEnd(fault.close_code.label, fault.close_code)
        except InvalidStatus as fault:
            return ConnectionEnd("the relay turns connections away", None, _retry_after(fault.response))
        except (OSError, WebSocketException, trio.BrokenResourceError, trio.TooSlowError) as error:
            return ConnectionEnd(f"the relay was not reached: {why_unreachable(error).words}")

    async def _find_route(self) -> _Route:
        address = self._store.settings.find(RELAY, RelayAddress)
        if address is None:
            address = await self._rest.relay()
            self._put(RELAY, address)
        ticket = self._store.settings.find(TICKET, RelayTicket)
        if ticket is None or ticket.expires_at - EARLY <= now():
            ticket = await self._rest.ticket()
            self._put(TICKET, ticket)
        return _Route(address, ticket, self._pattern)

    async def _serve(self, route: _Route) -> ConnectionEnd:
        deadline = trio.current_time() + HANDSHAKE_DEADLINE_MS * SECONDS_PER_MS
        async with self._dial(_with_hint(route.address.url, route.ticket.route)) as websocket:
            with trio.fail_at(deadline):
                connection, rest = await self._handshake(websocket, route)
            self._pattern, self._bad_tickets, self._connection = Pattern.IKpsk1, 0, connection
            try:
                self._listener.on_connected(connection)
                # More frames may have come in the Noise message of Welcome.
                self._listener.on_frames(rest)
                return await connection.run(self._listener.on_frames)
            finally:
                self._connection = None

    async def _handshake(self, websocket: ClientConnection, route: _Route) -> tuple[Connection, Sequence[ServerFrame]]:
        hello = Hello(PROTOCOL_VERSION, route.ticket.ticket, self._keys.own.device)
        # After XX the session compares the key that the relay showed with the one the API named.
        session = ClientSession(
            self._keys.noise,
            hello,
            relay_key=route.address.static_key,
            pattern=route.pattern,
            relay_kem=route.address.kem_key,
        )
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
                    return Connection(websocket, session, welcome), rest
        except PeerFault as fault:
            await close_for(websocket, fault)
            raise

    def _final_error(self, ended: ConnectionEnd) -> Ended | None:
        """Return what ends the client, None to reconnect; forget what the close code calls invalid."""
        match ended.closing:
            case CloseCode.REVOKED:
                return DeviceRevoked("this device was revoked")
            case CloseCode.REPLACED:
                return Replaced("the same device connected from somewhere else")
            case CloseCode.BAD_TICKET | CloseCode.TICKET_EXPIRED as code:
                self._bad_tickets += 1
                self._remove(TICKET)
                return ConnectionRefused(code) if self._bad_tickets > BAD_TICKETS else None
            case CloseCode.HANDSHAKE_FAILED:
                # The relay may have other keys: XX learns the static one, and the API is asked for those to expect.
                self._pattern = Pattern.XXpsk3
                self._remove(RELAY)
                return None
            case CloseCode.UNSUPPORTED_HANDSHAKE as code:
                # Never one without a post-quantum secret: somebody on the way may have sent this.
                if self._pattern is Pattern.XXpsk3:
                    return ConnectionRefused(code)
                self._pattern = Pattern.XXpsk3
                self._remove(RELAY)
                return None
            case code:
                return None if code is None or code.comes_back else ConnectionRefused(code)

    def _pause(self, ended: ConnectionEnd) -> float:
        if ended.goaway is None:
            return self._backoff.next()
        return spread(ended.goaway)

    def _put(self, name: str, value: object) -> None:
        with self._store.transaction():
            self._store.settings.put(name, value)

    def _remove(self, name: str) -> None:
        with self._store.transaction():
            self._store.settings.remove(name)


def _with_hint(url: str, route: str) -> str:
    """Return the relay's URL with the hint that lets a load balancer send a device to the same node each time."""
    return f"{url}{'&' if '?' in url else '?'}route={quote(route)}" if route else url


def _goaway_of(fault: Busy) -> Goaway | None:
    """Return the API's retry time as a `goaway`, so that both are waited for in the same way."""
    after_ms = fault.retry_after_ms
    return None if after_ms is None else Goaway(CloseCode.OVERLOADED, after_ms, jitter_ms=after_ms // 2)


def _retry_after(response: Response) -> Goaway | None:
    """Return the relay's `Retry-After` as a `goaway`; None without one in seconds (RFC 9110 section 10.2.3).

    A relay that is late for a moment names a few seconds. The backoff alone grows to 30 s meanwhile.
    """
    seconds = response.headers.get("Retry-After", "")
    if not (seconds.isascii() and seconds.isdigit()):
        return None
    # Whoever answers here is not authenticated yet, and may not send us away for longer than the backoff would.
    after_ms = round(min(float(seconds), MOST_SECONDS) * 1_000)
    return Goaway(CloseCode.OVERLOADED, after_ms, jitter_ms=after_ms // 2)
