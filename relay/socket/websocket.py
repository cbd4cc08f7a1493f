"""One WebSocket as a sans-I/O core: bytes in, whole binary messages out, and the other way (RFC 6455)."""

import logging
from http import HTTPStatus
from typing import Final

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from relay.metrics.labels import Hostility, hostility_of_frame
from relay.socket.framing import frame_size, only_message, split
from relay.socket.plain_http import REQUEST_BYTES, http_answer, lines_of
from relay.socket.upgrade_request import Upgrade, accepted, read_upgrade
from varde_contract.limits import NOISE_MESSAGE_BYTES
from varde_contract.session import SUBPROTOCOL

FRAGMENTS: Final = 1_024
"""Of one message: they may be empty, and then no limit of size ends them."""
SLOW_FRAMES: Final = 2_048
"""Control frames and fragments in one read, in a whole handshake, or after a close: some 20 ms of work at the most."""

_PIECE: Final = 4_096

_SILENT: Final = logging.getLogger("varde.relay.websocket")
_SILENT.setLevel(logging.ERROR)  # below, the library would log what peers sent


class WebSocket:
    """The server's side of one connection, from the HTTP request on.

    Three verbs: `feed` bytes (an empty one is the end), take what came, take the bytes to write.

    A request as our clients send it is read here, and once upgraded, whole binary frames are split. Whatever else comes
    goes to the library's ServerProtocol: an upgraded one lives until it has nothing unfinished any more.
    """

    __slots__ = (
        "_eof",
        "_fragments",
        "_messages",
        "_pending",
        "_protocol",
        "_rest",
        "_size",
        "broken",
        "request",
        "slow_frames",
        "upgraded",
        "wants_eof",
    )

    def __init__(self) -> None:
        self._protocol: ServerProtocol | None = None
        self._rest: bytearray | None = None
        self._fragments: list[bytes] | None = None
        self._size = 0  # of the request so far, and later of the fragments
        self._messages: list[bytes] = []
        self._pending: list[bytes] = []
        self._eof = False
        self.request: Request | Upgrade | None = None
        """The request, from when it has come until it is answered."""
        self.upgraded = False
        self.broken: Hostility | None = None
        """How the peer broke RFC 6455: it is answered with a close frame."""
        self.wants_eof = False
        self.slow_frames = 0
        """Control frames and fragments that came: each costs more than a message does. The caller sets it back."""

    @property
    def open(self) -> bool:
        """Whether messages may still come and go."""
        return self.upgraded and not self._eof if self._protocol is None else self._protocol.state is State.OPEN

    @property
    def finished(self) -> bool:
        """Whether the peer has nothing more to say: it closed, or its end of the stream did."""
        protocol = self._protocol
        return self._eof or (
            protocol is not None and (protocol.close_rcvd is not None or protocol.state is State.CLOSED)
        )

    @property
    def ended_with(self) -> int | None:
        """The close code that ended it, `close` apart: ours where the peer broke something, else its own; or None."""
        protocol = self._protocol
        close = None if protocol is None else protocol.close_sent if self.broken else protocol.close_rcvd
        return None if close is None else int(close.code)

    @property
    def asking(self) -> bool:
        """Whether a request has begun, and has not come to its end."""
        return not self.upgraded and self.request is None and self._size > 0

    @property
    def pending(self) -> int:
        """Bytes that `take_bytes` would return."""
        return sum(map(len, self._pending)) if self._pending else 0

    @property
    def unreadable(self) -> bool:
        """Whether what came instead of a request is none; the answer to give is in the bytes to write."""
        return self.request is None and self.wants_eof and not self._eof

    def feed(self, received: bytes) -> None:
        """Take in what came from the network."""
        if not received:
            self._end()
        elif not self.upgraded:
            self._feed_request(received)
        elif self._protocol is not None and self._protocol.state is not State.OPEN:
            self._feed_last(self._protocol, received)
        else:
            self._feed_frames(received)

    def accept(self, request: Request | Upgrade) -> bool:
        """Answer the request with an upgrade, or with what is wrong with it. True when it is an upgrade."""
        if isinstance(request, Upgrade):
            self._pending.append(accepted(request))
            self._turn_open()
            return True
        response = self._slow().accept(request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            response.headers["Sec-WebSocket-Version"] = "13"  # RFC 6455 section 4.4: the library does not say it
        self.respond(response)
        return response.status_code == HTTPStatus.SWITCHING_PROTOCOLS

    def respond(self, response: Response) -> None:
        """Answer the request; anything but an upgrade ends the connection."""
        protocol = self._slow()
        protocol.send_response(response)
        self._collect(protocol)
        if protocol.state is State.OPEN:
            self._turn_open()

    def give_up(self) -> None:
        """Answer a request that never came to its end."""
        if not (self.upgraded or self.request or self.wants_eof or self._eof):
            self.respond(http_answer(HTTPStatus.REQUEST_TIMEOUT, "The request took too long.\n"))

    def take_messages(self) -> list[bytes]:
        """Return the whole messages that came."""
        messages, self._messages = self._messages, []
        return messages

    def close(self, code: int, reason: str = "") -> None:
        """Write a close frame, unless there is one already."""
        if self.open:
            protocol, self.slow_frames = self._slow(), 0
            protocol.send_close(code, reason)
            rest, self._rest = self._rest, None
            self._feed_protocol(protocol, rest or b"")  # the peer's answer stands behind what is not whole yet
            self._collect(protocol)

    def take_bytes(self) -> bytes:
        """Return what is to be written now, messages apart: those are the caller's to write."""
        pending, self._pending = self._pending, []
        return b"".join(pending)

    def _turn_open(self) -> None:
        self.upgraded = True
        self.request = self._protocol = None
        if self._rest is not None:
            self._feed_frames(b"")

    def _end(self) -> None:
        self._eof = True
        if self.upgraded and self._protocol is None:
            self.wants_eof = True
        else:
            self._slow().receive_eof()
            self._collect(self._slow())

    def _feed_frames(self, came: bytes) -> None:
        received: bytes | bytearray = came
        if self._rest is None and self._fragments is None and self._protocol is None:
            message = only_message(came)
            if message is not None:
                self._messages.append(message)
                return
        if self._rest is not None:
            self._rest += came
            received, self._rest = self._rest, None
        while received:
            if self._fragments is None:
                found = split(received)
                self._messages += found.messages
                received = received[found.end :] if found.end else received
                if found.unfinished:
                    break
            size = frame_size(received)
            if size is None or size > len(received):
                break
            received = self._feed_slowly(received, size or len(received))
        if received:
            # Not copied when it only became longer: a peer may send a large frame a byte at a time.
            self._rest = received if isinstance(received, bytearray) else bytearray(received)
        if self._fragments is None and self._protocol is not None and self._protocol.state is State.OPEN:
            self._protocol = None

    def _feed_slowly(self, received: bytes | bytearray, size: int) -> bytearray:
        """Give one frame to the library; return what is left."""
        protocol, first = self._slow(), received[0]
        rest = received if isinstance(received, bytearray) else bytearray(received)
        frame = rest[:size]
        del rest[:size]
        self.slow_frames += 1
        self._feed_protocol(protocol, frame)
        if protocol.state is State.OPEN:
            if self.slow_frames <= SLOW_FRAMES:
                return rest
            self._fail(protocol, CloseCode.POLICY_VIOLATION, "too many control frames and fragments", Hostility.FLOOD)
        elif protocol.close_sent is not None and protocol.close_sent is not protocol.close_rcvd:
            self.broken = self.broken or hostility_of_frame(protocol.close_sent.code, first)
        self._feed_last(protocol, rest)
        return bytearray()

    def _feed_last(self, protocol: ServerProtocol, received: bytes | bytearray) -> None:
        """Look for the peer's close frame; who says much else instead is not waited for."""
        for begin in range(0, len(received), _PIECE):
            if not self._eof:
                self._feed_protocol(protocol, received[begin : begin + _PIECE])

    def _slow(self) -> ServerProtocol:
        if self._protocol is None:
            self._protocol = _protocol(State.OPEN if self.upgraded else State.CONNECTING)
        return self._protocol

    def _feed_request(self, received: bytes) -> None:
        if self._protocol is None and self.request is None:
            self.request = read_upgrade(received)
            if self.request is not None:
                return
        for line in lines_of(received):  # what comes behind the request is not for this parser
            if self.wants_eof:
                return  # it has its answer, and what it says after that is for nobody
            if self.request is None:
                self._feed_line(line)
            elif self._rest is None:
                self._rest = bytearray(line)
            else:
                self._rest += line

    def _feed_line(self, line: bytes) -> None:
        self._size += len(line)
        if self._size > REQUEST_BYTES:
            self.respond(http_answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request is too large.\n"))
        else:
            self._feed_protocol(self._slow(), line)

    def _feed_protocol(self, protocol: ServerProtocol, received: bytes | bytearray) -> None:
        if received:
            protocol.receive_data(received)
            self._take_events(protocol)

    def _take_events(self, protocol: ServerProtocol) -> None:
        for event in protocol.events_received():
            if isinstance(event, Frame):
                self._take_frame(protocol, event)
            elif isinstance(event, Request):
                self.request = event
        self._collect(protocol)

    def _take_frame(self, protocol: ServerProtocol, frame: Frame) -> None:
        if protocol.state is not State.OPEN:
            self.slow_frames += 1
            self._eof = self._eof or self.slow_frames > SLOW_FRAMES
        elif frame.opcode is Opcode.TEXT:
            self._fail(protocol, CloseCode.UNSUPPORTED_DATA, "binary messages only", Hostility.BAD_FRAME)
        elif frame.opcode is Opcode.BINARY:
            self._fragments, self._size = [], 0
            self._take_fragment(protocol, frame)
        elif frame.opcode is Opcode.CONT and self._fragments is not None:
            self._take_fragment(protocol, frame)

    def _take_fragment(self, protocol: ServerProtocol, frame: Frame) -> None:
        assert self._fragments is not None
        self._fragments.append(bytes(frame.data))
        self._size += len(frame.data)
        if self._size > NOISE_MESSAGE_BYTES:
            self._fail(protocol, CloseCode.MESSAGE_TOO_BIG, "larger than a Noise message", Hostility.GIANT_FRAME)
        elif frame.fin:
            self._messages.append(b"".join(self._fragments))
            self._fragments = None
        elif len(self._fragments) == FRAGMENTS:
            self._fail(protocol, CloseCode.POLICY_VIOLATION, "too many fragments", Hostility.FRAGMENTS)

    def _fail(self, protocol: ServerProtocol, code: CloseCode, reason: str, broken: Hostility) -> None:
        self._fragments = None
        self.broken = broken
        protocol.fail(code, reason)
        self._collect(protocol)

    def _collect(self, protocol: ServerProtocol) -> None:
        for written in protocol.data_to_send():
            if written is SEND_EOF or not written:
                self.wants_eof = True
            else:
                self._pending.append(written)
        if protocol.handshake_exc is not None and self.request is None and self.wants_eof and not self._pending:
            # The library only hangs up on what is no request; a person with a terminal deserves an answer.
            self._pending.append(http_answer(HTTPStatus.BAD_REQUEST, "This is not an HTTP request.\n").serialize())


def _protocol(state: State) -> ServerProtocol:
    # For each frame: the library would count a ping within a message against what is left for the message.
    limits = (None, NOISE_MESSAGE_BYTES)
    return ServerProtocol(subprotocols=[Subprotocol(SUBPROTOCOL)], state=state, max_size=limits, logger=_SILENT)
