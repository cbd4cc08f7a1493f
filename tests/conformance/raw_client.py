"""A client that writes any bytes on a byte stream, and reads strictly what comes back."""

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple
from uuid import UUID

import trio
from msgspec import Struct

from tests.conformance.case import HALF_CLOSE, Part, probes_of
from tests.conformance.frame_reader import NO_CLOSE, FrameReader
from tests.conformance.frames import LEAST, Frame, Piece, Probe, binary, close
from tests.conformance.variants import Segments
from tests.ids import id_of
from tests.relay.client import UPGRADE, ConnectionClosed, SessionClient
from varde_contract import frames as f
from varde_contract.ids import ClientId, ConversationId, ProfileId, uuid7
from varde_contract.session import ClientSession

RECEIVE_BYTES: Final = 65_536
FIRST_SENT: Final = 16_384
"""The ciphertext of the first frame of a probe that no single one can fill."""
SEND_BYTES: Final = LEAST - 1
"""A sealed `msg:send`, without its ciphertext."""
LONG_SEND_BYTES: Final = 69
"""One `msg:send` of 256 bytes or more in a packed message, without its ciphertext."""

BEYOND: Final = (1 << 32) - 1
"""A number that the conversation does not have."""


class Sealed(NamedTuple):
    """A probe as it is sent, and the ids that its answers will carry."""

    message: bytes
    ids: list[UUID]


class RawClient(SessionClient):
    """One connection. `answered` are the ids of the probes that were answered, in order."""

    def __init__(self, stream: trio.abc.Stream, session: ClientSession, conversation: ConversationId) -> None:
        super().__init__(session)
        self.stream = stream
        self.reader = FrameReader()
        self.answered: list[UUID] = []
        self._conversation = conversation
        self._sent = 0

    async def connect(self, request: bytes = UPGRADE) -> f.Welcome:
        """Go through the whole handshake, and join the conversation that prompt probes are about."""
        await self.stream.send_all(request)
        await self.read_upgrade()
        welcome = await super().connect()
        await self.send(f.Join(self._conversation))
        await self.receive(f.Joined)
        return welcome

    async def read_upgrade(self) -> None:
        """Read the answer to the request."""
        received = b""
        while b"\r\n\r\n" not in received:
            received += await self._receive()
        head, _, rest = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        if rest:
            self.reader.feed(rest)

    async def send_message(self, message: bytes) -> None:
        """Send one binary WebSocket message, whatever is in it."""
        await self.write(binary(message))

    async def half_close(self) -> None:
        """Say that nothing more will come. Not behind TLS, which has no such thing in Trio."""
        assert isinstance(self.stream, trio.abc.HalfCloseableStream)
        await self.stream.send_eof()

    async def prove_alive(self) -> None:
        """Send a probe and wait for its answer."""
        segments, ids = self.segments([binary(Probe())])
        await self.stream.send_all(segments[0][1])
        while ids[0] not in self.answered:
            await self.read()

    async def write(self, frame: Frame) -> None:
        """Write one frame at once."""
        assert isinstance(frame.payload, bytes)
        await self.stream.send_all(frame.encode(frame.payload))

    async def read(self) -> None:
        """Read once, and keep what came. Raises ServerFault and ConnectionClosed."""
        if not self.reader.messages:
            self.reader.feed(await self._receive())
        await self._take()
        if self.reader.ended:
            raise ConnectionClosed(self.reader.code, None)

    async def read_until_end(self) -> None:
        """Read until the relay has closed its side. Raises ServerFault, and BrokenResourceError after a reset."""
        answered = False
        while not self.reader.ended:
            self.reader.feed(await self._receive())
            if self.reader.code not in (None, NO_CLOSE) and not answered:
                answered = True
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # it may be gone after its close
                    await self.write(close(1000))
        await self._take()

    def segments(self, parts: Sequence[Part], good: int | None = None) -> tuple[Segments, list[UUID]]:
        """Seal what is asked in these parts; return the bytes, and the ids that the answers will carry, in order.

        With `good`, only the probes of so many parts are expected to be answered.
        """
        sealed = self.seal(probes_of(parts))
        expected = [each for probe in probes_of(parts[:good]) for each in sealed[probe].ids]
        return [segment(part, sealed) for part in parts if part is not HALF_CLOSE], expected

    def seal(self, probes: Sequence[Probe]) -> dict[Probe, Sealed]:
        """Seal probes, in the order in which they will be sent."""
        return {probe: self._seal(probe) for probe in probes}

    def _next_id(self, probe: Probe) -> UUID:
        if probe.prompt:
            return self._conversation
        self._sent += 1
        return uuid7(self._sent, bytes(10))

    def _seal(self, probe: Probe) -> Sealed:
        ids = [self._next_id(probe) for _ in range(1 if fits_one_frame(probe) else 2)]
        return Sealed(self.session.send(*_frames(probe, ids)), ids)

    async def _take(self) -> None:
        messages, self.reader.messages = self.reader.messages, []
        for message in messages:
            reply = self.take_message(message)
            if reply is not None:
                await self.send_message(reply)
        self.answered += [
            frame.subject for frame in self.frames if isinstance(frame, f.RefusedFrame) and frame.subject is not None
        ]
        self.frames = deque(frame for frame in self.frames if not isinstance(frame, f.RefusedFrame))

    async def _receive(self) -> bytes:
        return bytes(await self.stream.receive_some(RECEIVE_BYTES))


def fits_one_frame(probe: Probe) -> bool:
    """Whether one `msg:send` can have the size of a probe."""
    return probe.size is None or probe.size < 2 * FIRST_SENT


def _frames(probe: Probe, ids: list[UUID]) -> list[Struct]:
    if probe.size is None:
        return [f.Delivered(ConversationId(ids[0]), BEYOND if probe.prompt else 0)]
    if len(ids) == 1:
        return [_send(ids[0], probe.size - SEND_BYTES - (probe.size > LEAST + 255))]
    rest = probe.size - 17 - FIRST_SENT - 2 * LONG_SEND_BYTES
    return [_send(ids[0], FIRST_SENT), _send(ids[1], rest)]


def _send(client_id: UUID, size: int) -> f.Send:
    nobody = id_of(0)
    return f.Send(ClientId(client_id), ConversationId(nobody), ProfileId(nobody), 0, group=bytes(size))


def layout(parts: Sequence[Part]) -> Segments:
    """The segments of parts as long as they will be, with nothing sealed yet."""
    blank = {probe: Sealed(bytes(probe.length), []) for probe in probes_of(parts)}
    return [segment(part, blank) for part in parts if part is not HALF_CLOSE]


def segment(part: Part, sealed: dict[Probe, Sealed]) -> tuple[int, bytes]:
    """How many bytes of a part are header, and its bytes."""
    if isinstance(part, bytes):
        return len(part), part
    assert isinstance(part, Frame)
    payload = part.payload
    if isinstance(payload, Piece):
        payload = sealed[payload.probe].message[payload.start : payload.stop]
    elif isinstance(payload, Probe):
        payload = sealed[payload].message
    encoded = part.encode(payload)
    return len(encoded) - len(payload), encoded
