"""One open connection to a relay: frames out in order, frames in as they come, until somebody closes."""

import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import trio
from msgspec import Struct
from websockets.exceptions import ConnectionClosed
from websockets.trio.client import ClientConnection

from varde_contract import codec
from varde_contract.close_codes import CloseCode
from varde_contract.errors import PeerFault
from varde_contract.frames import Delivered, Goaway, Probe, ServerFrame, Welcome
from varde_contract.ids import ConversationId
from varde_contract.session import ClientSession

SECONDS_PER_MS = 1 / 1_000


class ConnectionEnd(NamedTuple):
    """How a connection ended: a word for people, the relay's code if it gave one, and when it asked to be back."""

    why: str
    closing: CloseCode | None = None
    goaway: Goaway | None = None


class Connection:
    """A connection past its Welcome.

    `send` and `confirm` queue. One task writes: a cancelled `send` of `websockets` could tear a frame, and Noise needs
    messages to leave in the order in which they were encrypted.
    """

    def __init__(self, websocket: ClientConnection, session: ClientSession, welcome: Welcome) -> None:
        self.welcome = welcome
        self._websocket = websocket
        self._session = session
        self._queue: deque[Struct] = deque()
        self._confirmed: dict[ConversationId, int] = {}
        self._work = trio.Event()
        self._idle = trio.Event()
        self._goaway: Goaway | None = None
        self._asked_to_go = trio.Event()
        self._left = False
        self._heard_at = trio.current_time()

    def send(self, frame: Struct) -> None:
        """Queue a frame."""
        self._queue.append(frame)
        self._wake_writer()

    def confirm(self, conversation: ConversationId, upto: int) -> None:
        """Confirm delivery up to `upto`. Coalesced until the writer runs: one for each conversation."""
        self._confirmed[conversation] = max(upto, self._confirmed.get(conversation, 0))
        self._wake_writer()

    async def run(self, on_frames: Callable[[Sequence[ServerFrame]], None]) -> ConnectionEnd:
        """Call `on_frames` with the frames of each message, until the connection ends; return how it ended."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            nursery.start_soon(self._heartbeat)
            nursery.start_soon(self._leave_when_asked)
            end = await self._read(on_frames)
            nursery.cancel_scope.cancel()
        return end

    async def aclose(self) -> None:
        """Write what is queued, then close. The caller sets a deadline."""
        await self._idle.wait()
        await self._websocket.aclose()

    async def _read(self, on_frames: Callable[[Sequence[ServerFrame]], None]) -> ConnectionEnd:
        while True:
            try:
                frames = self._session.receive(await self._websocket.recv(decode=False))
            except ConnectionClosed as closed:
                if self._left:
                    return ConnectionEnd("the relay asked to go", None, Goaway(CloseCode.DRAINING, 0, 0))
                return connection_end(closed, self._goaway)
            except PeerFault as fault:
                await close_for(self._websocket, fault)
                return ConnectionEnd("the relay broke the protocol", None, self._goaway)
            self._heard_at = trio.current_time()
            self._goaway = next((frame for frame in frames if isinstance(frame, Goaway)), self._goaway)
            if self._goaway is not None:
                self._asked_to_go.set()
            on_frames(frames)

    async def _write(self) -> None:
        while True:
            if not (self._queue or self._confirmed):
                self._idle.set()
                await self._work.wait()  # no deadline: there may be nothing to send for ever
            try:
                await self._websocket.send(self._session.send_encoded(self._next_message()))
            except ConnectionClosed:
                return  # the reader says how it ended

    async def _leave_when_asked(self) -> None:
        # By ourselves, at a moment of our own in the time that the relay names, and then back at once. To wait for the
        # relay's close would leave everybody without a connection for that time.
        await self._asked_to_go.wait()
        assert self._goaway is not None
        await trio.sleep(spread(self._goaway))
        await self._idle.wait()
        # Before the close, or the reader would take its end for one that the relay chose.
        self._left = True
        await self._websocket.aclose()

    async def _heartbeat(self) -> None:
        # `websockets` answers the relay's pings and does not show them. A ping of our own would be answered by whatever
        # proxy is in between; a probe is answered by the relay. A connection on which something comes needs neither.
        interval = self.welcome.heartbeat_ms * SECONDS_PER_MS
        while True:
            if (left := self._heard_at + interval - trio.current_time()) > 0:
                await trio.sleep(left)
                continue
            probed_at = trio.current_time()
            self.send(Probe(b""))
            await trio.sleep(interval)
            if self._heard_at < probed_at:
                await self._websocket.aclose(CloseCode.HEARTBEAT_MISSED, CloseCode.HEARTBEAT_MISSED.label)
                return

    def _next_message(self) -> list[tuple[type[Struct], bytes]]:
        """Take as many frames as fit one Noise message."""
        for conversation, upto in self._confirmed.items():
            self._queue.append(Delivered(conversation, upto))
        self._confirmed.clear()
        self._work = trio.Event()
        message: list[tuple[type[Struct], bytes]] = []
        size = 0
        while self._queue:
            encoded = codec.encode_frame(self._queue[0])
            # One frame always goes: what does not fit one Noise message was sent by the API instead.
            if message and not codec.fits(size + len(encoded), len(message) + 1):
                self._work.set()
                break
            size += len(encoded)
            message.append((type(self._queue.popleft()), encoded))
        return message

    def _wake_writer(self) -> None:
        if self._idle.is_set():
            self._idle = trio.Event()
        self._work.set()


def spread(goaway: Goaway) -> float:
    """Return the seconds after which a client is to come back, at random within what the relay named."""
    return (goaway.after_ms + random.uniform(0, goaway.jitter_ms)) * SECONDS_PER_MS  # noqa: S311 - jitter is no secret


def connection_end(closed: ConnectionClosed, goaway: Goaway | None = None) -> ConnectionEnd:
    """Say how a connection ended, from the close frame if one came."""
    if closed.rcvd is None:
        return ConnectionEnd("the connection was lost", None, goaway)
    try:
        code = CloseCode(closed.rcvd.code)
    except ValueError:
        return ConnectionEnd(f"closed with {closed.rcvd.code}", None, goaway)
    return ConnectionEnd(code.label, code, goaway)


async def close_for(websocket: ClientConnection, fault: PeerFault) -> None:
    """Close because of what the peer sent, and say which rule it broke by code alone."""
    await websocket.aclose(fault.close_code, fault.close_code.label)
