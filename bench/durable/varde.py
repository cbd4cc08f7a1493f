"""Varde's own protocol, spoken by a client of the benchmark: upgrade, Noise IK, join, send, confirm. Sans-I/O."""

import os
from typing import Final

from msgspec import Struct

from bench.durable.dialect import Tally
from bench.durable.pipe import WebSocketPipe
from loadtest.client import websocket
from loadtest.client.websocket import ServerFault
from varde_contract import frames as f
from varde_contract.errors import PeerFault
from varde_contract.ids import ClientId, ConversationId, DeviceId, ProfileId, uuid7
from varde_contract.noise import KeyPair
from varde_contract.session import PROTOCOL_VERSION, SUBPROTOCOL, ClientSession, Pattern, State

PATH: Final = "/v1/relay"


class Seat(Struct, frozen=True):
    """One device with the one conversation it is in: what a client has to know and show."""

    device: DeviceId
    noise: KeyPair
    ticket: str
    profile: ProfileId
    conversation: ConversationId
    partner: DeviceId

    def __repr__(self) -> str:
        return "Seat"


class VardeDialect:
    """One device. It joins all its conversations, sends to its partner's device, and confirms what it gets."""

    __slots__ = (
        "_first",
        "_number",
        "_pipe",
        "_seat",
        "_sending",
        "_sent",
        "_session",
        "_tally",
        "_upto",
        "live",
        "owes",
    )

    def __init__(self, number: int, seat: Seat, tally: Tally, *, authority: str, relay_key: bytes) -> None:
        self._number = number
        self._seat = seat
        self._tally = tally
        self._pipe = WebSocketPipe(authority, PATH, SUBPROTOCOL)
        hello = f.Hello(PROTOCOL_VERSION, seat.ticket, seat.device)
        self._session = ClientSession(seat.noise, hello, relay_key=relay_key, pattern=Pattern.IK)
        self._sending: set[ClientId] = set()
        # Where the device's client ids begin: a device that comes back must not say the same ones again.
        self._first = int.from_bytes(os.urandom(5), "big")
        self._sent = 0
        self._upto = 0
        self.live = False
        self.owes = False

    def open(self) -> bytes:
        """Return the upgrade."""
        return self._pipe.open()

    def feed(self, received: bytes) -> bytes:
        """Take what was received; return what the handshake asks for."""
        before = self._pipe.ready
        messages, reply = self._pipe.unwrap(received)
        if self._pipe.ready and not before:
            reply += self._pipe.wrap(self._session.open())
        greeting = not self.live and self._session.state is not State.LIVE
        try:
            for message in messages:
                for frame in self._session.receive(message):
                    self._hear(frame)
        except PeerFault as fault:
            raise ServerFault(f"the relay broke the protocol: {fault}") from fault
        if greeting and self._session.state is State.LIVE:
            reply += self._pipe.wrap(self._session.send(f.Join()))
        return reply

    def send(self, payload: bytes) -> bytes:
        """Return `msg:send` to the partner's device."""
        seat = self._seat
        self._sent = sent = self._sent + 1
        client = ClientId(uuid7(self._first + sent, seat.device.bytes[6:]))
        self._sending.add(client)
        frame = f.Send(client, seat.conversation, seat.profile, 1, devices={seat.partner: payload})
        return self._pipe.wrap(self._session.send(frame))

    def confirm(self) -> bytes:
        """Return `receipt:delivered` up to the last number that came."""
        self.owes = False
        return self._pipe.wrap(self._session.send(f.Delivered(self._seat.conversation, self._upto)))

    def leave(self) -> bytes:
        """Return a close frame with code 1000."""
        return websocket.masked(b"\x03\xe8", websocket.CLOSE)

    def _hear(self, frame: Struct) -> None:
        match frame:
            case f.New():
                self._tally.receive(self._number, frame.sealed)
                self._upto, self.owes = frame.seq, True
            case f.Ack():
                self._settle(frame.client_id)
            case f.RefusedFrame() if frame.about == "msg:send":
                self._sending.discard(ClientId(frame.subject)) if frame.subject else None
                self._tally.refuse(self._number)
            case f.Joined():
                self.live = True
            case f.Goaway() | f.RefusedFrame():
                raise ServerFault(f"the relay said {frame!r}")
            case _:
                pass  # own numbers as gaps, receipts of the partner

    def _settle(self, client: ClientId) -> None:
        if client in self._sending:
            self._sending.remove(client)
            self._tally.ack(self._number, 1)
