"""A person of a crowd as a plain client of the relay, over a blocking socket."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from msgspec import Struct
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from loadtest.crowd.crowd import Crowd, Room, Seat
from varde_contract import frames as f
from varde_contract.ids import ENTROPY_BYTES, ClientId, DeviceId, uuid7
from varde_contract.noise import KeyPair
from varde_contract.session import PROTOCOL_VERSION, SUBPROTOCOL, ClientSession, Pattern

Frame = TypeVar("Frame", bound=Struct)

PATIENCE = 30.0
"""Seconds. Nothing here takes one; only what never comes takes this long."""


class Member:
    """A seat that is connected and has said hello."""

    def __init__(self, seat: Seat, crowd: Crowd, socket: ClientConnection) -> None:
        self.seat = seat
        self._socket = socket
        self._waiting: list[Struct] = []
        hello = f.Hello(PROTOCOL_VERSION, seat.ticket, seat.device)
        noise = KeyPair.from_private(seat.noise_private)
        self._session = ClientSession(noise, hello, relay_key=crowd.relay_key, pattern=Pattern.IK)
        socket.send(self._session.open())

    def wait(self, kind: type[Frame]) -> Frame:
        """Return the next frame of this kind, leaving out others."""
        while True:
            while self._waiting:
                frame = self._waiting.pop(0)
                assert not isinstance(frame, f.RefusedFrame)
                if isinstance(frame, kind):
                    return frame
            message = self._socket.recv(PATIENCE)
            assert isinstance(message, bytes)
            self._waiting += self._session.receive(message)

    def say(self, frame: Struct) -> None:
        """Send a frame."""
        self._socket.send(self._session.send(frame))

    def send_group(self, room: Room, ciphertext: bytes) -> f.Ack:
        """Send one ciphertext for everybody, and return the ack."""
        self.say(f.Send(_client_id(), room.conversation, self.seat.profile, room.roster_version, group=ciphertext))
        return self.wait(f.Ack)

    def send_devices(self, room: Room, ciphertexts: dict[DeviceId, bytes]) -> f.Ack:
        """Send a ciphertext for each other device, and return the ack."""
        self.say(f.Send(_client_id(), room.conversation, self.seat.profile, room.roster_version, devices=ciphertexts))
        return self.wait(f.Ack)


@contextmanager
def open_member(crowd: Crowd, number: int) -> Iterator[Member]:
    """Connect a seat and join it to all that it is in."""
    trust = ssl.create_default_context(cadata=crowd.authority) if crowd.authority else None
    with connect(crowd.relay_url, subprotocols=[Subprotocol(SUBPROTOCOL)], ssl=trust, compression=None) as socket:
        member = Member(crowd.seats[number], crowd, socket)
        member.wait(f.Welcome)
        member.say(f.Join())
        member.wait(f.Joined)
        yield member


def _client_id() -> ClientId:
    return ClientId(uuid7(1, os.urandom(ENTROPY_BYTES)))
