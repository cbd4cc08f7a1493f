"""One WebSocket after its upgrade, as a sans-I/O core: bytes in, whole binary messages out (RFC 6455)."""

import logging
from typing import Final

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol

from relay.metrics.labels import Hostility, hostility_of_frame
from relay.socket.framing import frame_size, only_message, split
from varde_contract.limits import NOISE_MESSAGE_BYTES

FRAGMENTS: Final = 1_024
"""Of one message: they may be empty, and then no limit of size ends them."""
SLOW_FRAMES: Final = 2_048
"""Control frames and fragments in one read, in a whole handshake, or after a close: some 20 ms of work at the most."""

_PIECE: Final = 4_096
"""Bytes that the library parses at a time after a close. Between two pieces the limit of frames is looked at, so a peer
cannot have a whole read of 64 KiB parsed beyond it."""

_SILENT: Final = logging.getLogger("varde.relay.websocket")
_SILENT.setLevel(logging.ERROR)  # below, the library would log what peers sent


class WebSocket:
    """The server's side of one WebSocket: `feed` bytes (an empty one is the end), take messages, take bytes to write.

    Whole binary frames are split here: nearly all traffic is. Anything else goes to the library's ServerProtocol, which
    is made for it and dropped as soon as nothing in it is unfinished.
    """

    __slots__ = (
        "_ended",
        "_fragments",
        "_fragments_size",
        "_messages",
        "_pending",
        "_protocol",
        "_rest",
        "broken",
        "slow_frames",
        "wants_eof",
    )

    def __init__(self) -> None:
        self._protocol: ServerProtocol | None = None
        self._rest: bytearray | None = None
        self._fragments: list[bytes] | None = None
        self._fragments_size = 0
        self._messages: list[bytes] = []
        self._pending: list[bytes] = []
        self._ended = False
        self.broken: Hostility | None = None
        """How the peer broke RFC 6455. It is answered with a close frame."""
        self.wants_eof = False
        """Whether nothing more is written after `take_bytes`."""
        self.slow_frames = 0
        """Control frames and fragments that came: each costs more than a message does. The caller resets it."""

    @property
    def open(self) -> bool:
        """Whether messages may still come and go."""
        return not self._ended if self._protocol is None else self._protocol.state is State.OPEN

    @property
    def finished(self) -> bool:
        """Whether the peer has nothing more to say: it sent a close frame, or ended its stream."""
        protocol = self._protocol
        return self._ended or (
            protocol is not None and (protocol.close_rcvd is not None or protocol.state is State.CLOSED)
        )

    @property
    def ended_with(self) -> int | None:
        """The close code that ended it, other than by `close`: ours if the peer broke something, else the peer's."""
        protocol = self._protocol
        close = None if protocol is None else protocol.close_sent if self.broken else protocol.close_rcvd
        return None if close is None else int(close.code)

    @property
    def pending(self) -> int:
        """Bytes that `take_bytes` would return."""
        return sum(map(len, self._pending)) if self._pending else 0

    def feed(self, received: bytes) -> None:
        """Take in what came from the network."""
        if not received:
            self._end()
        elif self._protocol is not None and self._protocol.state is not State.OPEN:
            self._feed_closing(self._protocol, received)
        else:
            self._feed_frames(received)

    def take_messages(self) -> list[bytes]:
        """Return the whole messages that came."""
        messages, self._messages = self._messages, []
        return messages

    def close(self, code: int, reason: str = "") -> None:
        """Write a close frame, unless there is one already."""
        if self.open:
            # From here on they count what comes in place of the peer's close frame.
            protocol, self.slow_frames = self._slow(), 0
            protocol.send_close(code, reason)
            rest, self._rest = self._rest, None
            self._feed_protocol(protocol, rest or b"")  # the peer's answer stands behind what is not whole yet
            self._collect(protocol)

    def take_bytes(self) -> bytes:
        """Return what is to be written now, messages apart: those are the caller's to write."""
        pending, self._pending = self._pending, []
        return b"".join(pending)

    def _end(self) -> None:
        self._ended = True
        if self._protocol is None:
            self.wants_eof = True
        else:
            self._protocol.receive_eof()
            self._collect(self._protocol)

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
            # A frame that is wrong already is given to the library with all that follows: it fails the connection at
            # once.
            received = self._feed_slowly(received, size or len(received))
        if received:
            # Not copied when it only became longer: a peer may send a large frame a byte at a time.
            self._rest = received if isinstance(received, bytearray) else bytearray(received)
        if self._fragments is None and self._protocol is not None and self._protocol.state is State.OPEN:
            self._protocol = None  # nothing slow is under way: the next frames take the short way again

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
        # The library answers the peer's close frame with the same object. Another one is its verdict on a broken frame.
        elif protocol.close_sent is not None and protocol.close_sent is not protocol.close_rcvd:
            self.broken = self.broken or hostility_of_frame(protocol.close_sent.code, first)
        self._feed_closing(protocol, rest)
        return bytearray()

    def _feed_closing(self, protocol: ServerProtocol, received: bytes | bytearray) -> None:
        """Look for the peer's close frame; a peer that sends much else instead is not waited for."""
        for begin in range(0, len(received), _PIECE):
            if not self._ended:
                self._feed_protocol(protocol, received[begin : begin + _PIECE])

    def _slow(self) -> ServerProtocol:
        if self._protocol is None:
            # A limit for each frame and none for the message: the library would count a ping between fragments against
            # what is left for the message. `_take_fragment` counts the message.
            self._protocol = ServerProtocol(state=State.OPEN, max_size=(None, NOISE_MESSAGE_BYTES), logger=_SILENT)
        return self._protocol

    def _feed_protocol(self, protocol: ServerProtocol, received: bytes | bytearray) -> None:
        if received:
            protocol.receive_data(received)
            self._take_events(protocol)

    def _take_events(self, protocol: ServerProtocol) -> None:
        for event in protocol.events_received():
            if isinstance(event, Frame):
                self._take_frame(protocol, event)
        self._collect(protocol)

    def _take_frame(self, protocol: ServerProtocol, frame: Frame) -> None:
        if protocol.state is not State.OPEN:
            self.slow_frames += 1
            self._ended = self._ended or self.slow_frames > SLOW_FRAMES
        elif frame.opcode is Opcode.TEXT:
            self._fail(protocol, CloseCode.UNSUPPORTED_DATA, "binary messages only", Hostility.BAD_FRAME)
        elif frame.opcode is Opcode.BINARY:
            self._fragments, self._fragments_size = [], 0
            self._take_fragment(protocol, frame)
        elif frame.opcode is Opcode.CONT and self._fragments is not None:
            self._take_fragment(protocol, frame)

    def _take_fragment(self, protocol: ServerProtocol, frame: Frame) -> None:
        assert self._fragments is not None
        self._fragments.append(bytes(frame.data))
        self._fragments_size += len(frame.data)
        if self._fragments_size > NOISE_MESSAGE_BYTES:
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
            if written == SEND_EOF:
                self.wants_eof = True
            else:
                self._pending.append(written)
