"""A client that writes any bytes on a byte stream, and keeps what comes back."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple
from uuid import UUID

import trio
from msgspec import Struct

from tests.conformance.case import HALF_CLOSE, Part, questions_of
from tests.conformance.frames import LEAST, Frame, Piece, Question, binary, close
from tests.conformance.reading import NO_CLOSE, Reader
from tests.conformance.variants import Segments
from varde_contract import frames as f
from varde_contract.ids import ClientId, ConversationId, ProfileId, uuid7
from varde_contract.session import ClientSession

RECEIVE_BYTES: Final = 65_536
FIRST_SENT: Final = 16_384
"""The ciphertext of the first frame of a question that no single one can fill."""
SEND_BYTES: Final = LEAST - 1
"""A sealed `msg:send`, without its ciphertext."""
LONG_SEND_BYTES: Final = 69
"""One `msg:send` of 256 bytes or more in a packed message, without its ciphertext."""

BEYOND: Final = (1 << 32) - 1
"""A number that the conversation does not have."""

REQUEST: Final = (
    b"GET /v1/relay HTTP/1.1\r\nHost: relay.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: varde.v1\r\n\r\n"
)


class Sealed(NamedTuple):
    """A question as it is sent, and the ids that its answers will carry."""

    message: bytes
    ids: list[UUID]


class Peer:
    """One authenticated connection. `answered` are the ids of the questions that were answered, in order."""

    def __init__(self, stream: trio.abc.Stream, session: ClientSession, conversation: ConversationId) -> None:
        self.stream = stream
        self.session = session
        self._conversation = conversation
        self.reader = Reader()
        self.answered: list[UUID] = []
        self._asked = 0

    async def enter(self, request: bytes = REQUEST) -> None:
        """Ask for a WebSocket, go through the handshake, and join the conversation that prompt questions are about."""
        await self.stream.send_all(request)
        await self.hear_upgrade()
        await self.write(binary(self.session.open()))
        await self.hear_welcome()
        await self.write(binary(self.session.send(f.Join(self._conversation))))
        await self._hear(f.Joined)

    async def hear_upgrade(self) -> None:
        """Read the answer to the request."""
        received = b""
        while b"\r\n\r\n" not in received:
            received += await self._receive()
        head, _, rest = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        if rest:
            self.reader.feed(rest)

    async def hear_welcome(self) -> None:
        """Read the relay's part of the handshake, and its first frame."""
        await self._hear(f.Welcome)

    async def half_close(self) -> None:
        """Say that nothing more will come. Not behind TLS, which has no such thing in Trio."""
        assert isinstance(self.stream, trio.abc.HalfCloseableStream)
        await self.stream.send_eof()

    async def prove(self) -> None:
        """Ask something and wait for the answer."""
        segments, ids = self.segments([binary(Question())])
        await self.stream.send_all(segments[0][1])
        while ids[0] not in self.answered:
            await self.read()
            self._take()

    async def write(self, frame: Frame) -> None:
        """Write one frame at once."""
        assert isinstance(frame.payload, bytes)
        await self.stream.send_all(frame.encode(frame.payload))

    async def read(self) -> None:
        """Read once. Raises Fault."""
        self.reader.feed(await self._receive())
        if self.reader.ended:
            raise EndOfStream

    async def read_to_the_end(self) -> None:
        """Read until the relay has closed its side. Raises Fault, and BrokenResourceError after a reset."""
        answered = False
        while not self.reader.ended:
            self.reader.feed(await self._receive())
            if self.reader.code not in (None, NO_CLOSE) and not answered:
                answered = True
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # it may have gone after its close
                    await self.write(close(1000))
        self._take()

    def segments(self, parts: Sequence[Part], good: int | None = None) -> tuple[Segments, list[UUID]]:
        """Seal what is asked in these parts; return the bytes, and the ids that the answers will carry, in order.

        With `good`, only the questions of so many parts are expected to be answered.
        """
        sealed = self.seal(questions_of(parts))
        expected = [each for question in questions_of(parts[:good]) for each in sealed[question].ids]
        return [segment(part, sealed) for part in parts if part is not HALF_CLOSE], expected

    def seal(self, questions: Sequence[Question]) -> dict[Question, Sealed]:
        """Seal questions, in the order in which they will be sent."""
        return {question: self._seal(question) for question in questions}

    def _next_id(self, question: Question) -> UUID:
        if question.prompt:
            return self._conversation
        self._asked += 1
        return uuid7(self._asked, bytes(10))

    async def _hear(self, kind: type[Struct]) -> None:
        while not any(isinstance(frame, kind) for frame in self._take()):
            await self.read()

    def _seal(self, question: Question) -> Sealed:
        ids = [self._next_id(question) for _ in range(1 if fits_one_frame(question) else 2)]
        return Sealed(self.session.send(*_frames(question, ids)), ids)

    def _take(self) -> list[f.ServerFrame]:
        messages, self.reader.messages = self.reader.messages, []
        frames = [frame for message in messages for frame in self.session.receive(message)]
        self.answered += [
            frame.subject for frame in frames if isinstance(frame, f.RefusedFrame) and frame.subject is not None
        ]
        return frames

    async def _receive(self) -> bytes:
        return bytes(await self.stream.receive_some(RECEIVE_BYTES))


class EndOfStream(Exception):
    """The relay ended a connection that was to live."""


def fits_one_frame(question: Question) -> bool:
    """Whether one `msg:send` can have the size of a question."""
    return question.size is None or question.size < 2 * FIRST_SENT


def _frames(question: Question, ids: list[UUID]) -> list[Struct]:
    if question.size is None:
        return [f.Delivered(ConversationId(ids[0]), BEYOND if question.prompt else 0)]
    if len(ids) == 1:
        return [_send(ids[0], question.size - SEND_BYTES - (question.size > LEAST + 255))]
    rest = question.size - 17 - FIRST_SENT - 2 * LONG_SEND_BYTES
    return [_send(ids[0], FIRST_SENT), _send(ids[1], rest)]


def _send(client_id: UUID, size: int) -> f.Send:
    nobody = UUID(int=0)
    return f.Send(ClientId(client_id), ConversationId(nobody), ProfileId(nobody), 0, group=bytes(size))


def layout(parts: Sequence[Part]) -> Segments:
    """The segments of parts as long as they will be, with nothing sealed yet."""
    blank = {question: Sealed(bytes(question.length), []) for question in questions_of(parts)}
    return [segment(part, blank) for part in parts if part is not HALF_CLOSE]


def segment(part: Part, sealed: dict[Question, Sealed]) -> tuple[int, bytes]:
    """How many bytes of a part are header, and its bytes."""
    if isinstance(part, bytes):
        return len(part), part
    assert isinstance(part, Frame)
    payload = part.payload
    if isinstance(payload, Piece):
        payload = sealed[payload.question].message[payload.start : payload.stop]
    elif isinstance(payload, Question):
        payload = sealed[payload].message
    encoded = part.encode(payload)
    return len(encoded) - len(payload), encoded
