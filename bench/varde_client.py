"""A member at Varde's relay, as the generator plays it: upgrade, Noise, ticket, join, send. The wire:
docs/protocol.md.
"""

import os
from typing import Final

from bench.clients import CHECKED, CONTENT
from bench.keyring import MemberSecrets
from bench.plan import conversation_of, device_of, profile_of
from loadtest.client.websocket import (
    BINARY,
    PING,
    PONG,
    Message,
    ServerFault,
    Splitter,
    masked,
    split_response,
    upgrade_request,
)
from varde_contract import frames as f
from varde_contract.codec import decode_server_frames, encode_frame, encode_hello, pack
from varde_contract.ids import ClientId, uuid7
from varde_contract.noise import Handshake, KeyPair, Transport
from varde_contract.refusals import RefusalCode
from varde_contract.session import PROTOCOL_VERSION, SUBPROTOCOL, Pattern, noise_name, prologue

PATH: Final = "/v1/relay"
VERSION: Final = 1
"""Of every roster: it never moves."""

# A frame is an array that begins with its tag. No id and no content of the benchmark looks like one of these.
_NEW: Final = b"\x99\xa7msg:new"
_ACK: Final = b"\x96\xa3ack"
_JOINED: Final = b"\xa6joined"
_REFUSED: Final = b"\xa7refused"
_STAMP_MS: Final = 1_767_225_600_000


class VardeClient:
    """One device. Ready once it listens to its room; with `joins` off, once it was welcomed."""

    __slots__ = (
        *("_after", "_authority", "_before", "_handshake", "_hello", "_joins", "_pattern", "_room"),
        *("_sent", "_splitter", "_stream", "_to_check", "_transport", "acks", "deliveries", "member", "pings", "ready"),
        "refused",
    )

    def __init__(
        self,
        authority: str,
        room: int,
        member: int,
        secrets: MemberSecrets,
        *,
        relay_key: bytes,
        pattern: Pattern = Pattern.IK,
        joins: bool = True,
    ) -> None:
        self._authority, self._pattern, self._joins = authority, pattern, joins
        self._room, self.member = room, member
        self._hello = encode_hello(f.Hello(PROTOCOL_VERSION, secrets.ticket, device_of(member)))
        self._handshake: Handshake | None = Handshake(
            noise_name(pattern),
            initiator=True,
            prologue=prologue(pattern),
            s=KeyPair.from_private(secrets.private),
            rs=relay_key if pattern is Pattern.IK else None,
        )
        self._transport: Transport | None = None
        self._splitter: Splitter | None = None
        self._stream = b""
        self._sent = 0
        self._to_check = CHECKED
        self._before, self._after = _split_send(room, member)
        self.ready = False
        self.deliveries = self.acks = self.pings = self.refused = 0

    def open(self) -> bytes:
        """Return the upgrade."""
        return upgrade_request(self._authority, PATH, SUBPROTOCOL)

    def message(self) -> bytes:
        """Return a `msg:send` with a client id of its own."""
        assert self._transport is not None
        self._sent = sent = self._sent + 1
        stamp = _client_id(self.member, sent).bytes
        return masked(self._transport.seal(self._before + stamp + self._after))

    def receive(self, received: bytes) -> bytes:
        """Open what came and count the frames in it."""
        if self._splitter is None:
            return self._upgrade(received)
        answer = b""
        for message in self._splitter.feed(received):
            if message.opcode != BINARY:
                answer += self._control(message)
            elif self.ready:
                self._count(message.payload)
            else:
                answer += self._greet(message.payload)
        return answer

    def _count(self, sealed: bytes) -> None:
        assert self._transport is not None
        plain = self._transport.open(sealed)
        self.deliveries += plain.count(_NEW)
        self.acks += plain.count(_ACK)
        if self._to_check:
            self._check(plain)
        if _REFUSED in plain:
            self._hear_refusals(plain)

    def _hear_refusals(self, plain: bytes) -> None:
        for frame in decode_server_frames(plain):
            if isinstance(frame, f.RefusedFrame):
                if frame.code is not RefusalCode.OVERLOADED:
                    raise ServerFault(f"the relay refused a frame: {frame.code}")
                self.refused += 1

    def _upgrade(self, received: bytes) -> bytes:
        self._stream += received
        rest = split_response(self._stream)
        if rest is None:
            return b""
        self._splitter, self._stream = Splitter(), b""
        assert self._handshake is not None
        payload = self._hello if self._pattern is Pattern.IK else b""
        first = masked(bytes((self._pattern,)) + self._handshake.write_message(payload))
        return first + self.receive(rest) if rest else first

    def _greet(self, message: bytes) -> bytes:
        if self._transport is None:
            return self._shake_hands(message)
        plain = self._transport.open(message)
        if self._joins and _JOINED not in plain:
            return masked(self._transport.seal(pack([encode_frame(f.Join(conversation_of(self._room)))])))
        self.ready = True
        return b""

    def _shake_hands(self, message: bytes) -> bytes:
        handshake = self._handshake
        assert handshake is not None
        handshake.read_message(message)
        answer = b"" if handshake.finished else masked(handshake.write_message(self._hello))
        self._transport, self._handshake, self._hello = handshake.split(), None, b""
        return answer

    def _control(self, message: Message) -> bytes:
        if message.opcode != PING:
            code = int.from_bytes(message.payload[:2], "big")
            raise ServerFault(f"the relay closed the connection with {code}")
        self.pings += 1
        return masked(message.payload, PONG)

    def _check(self, plain: bytes) -> None:
        for frame in decode_server_frames(plain):
            if isinstance(frame, f.New):
                self._to_check -= self._to_check > 0
                if frame.sealed != CONTENT:
                    raise ServerFault("a delivery does not hold what was sent")


def _client_id(member: int, sent: int) -> ClientId:
    return ClientId(uuid7(_STAMP_MS + sent, member.to_bytes(10, "big")))


def _split_send(room: int, member: int) -> tuple[bytes, bytes]:
    """Return what stands before and behind the client id in a packed message that holds one `msg:send`."""
    marker = ClientId(uuid7(_STAMP_MS, os.urandom(10)))
    send = f.Send(marker, conversation_of(room), profile_of(member), VERSION, group=CONTENT)
    before, _, after = pack([encode_frame(send)]).partition(marker.bytes)
    return before, after
