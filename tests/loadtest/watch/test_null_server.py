"""The server that does nothing speaks the protocol all the same."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import pytest
from msgspec import Struct

from loadtest.client.websocket import masked, split_response, upgrade_request
from loadtest.crowd.crowd import Crowd, read_crowd
from loadtest.watch.null_server import open_null_server
from tests.loadtest.client.splitter import Splitter
from varde_contract import frames as f
from varde_contract.ids import ENTROPY_BYTES, ClientId, uuid7
from varde_contract.noise import KeyPair
from varde_contract.session import PROTOCOL_VERSION, SUBPROTOCOL, ClientSession, Pattern

Frame = TypeVar("Frame", bound=Struct)
SECONDS = 10.0


class Client:
    """One device with a blocking socket."""

    def __init__(self, crowd: Crowd, seat: int) -> None:
        self.seat = crowd.seats[seat]
        url = urlsplit(crowd.relay_url)
        assert url.hostname is not None
        assert url.port is not None
        self.sock = socket.create_connection((url.hostname, url.port), timeout=SECONDS)
        hello = f.Hello(PROTOCOL_VERSION, self.seat.ticket, self.seat.device)
        static = KeyPair.from_private(self.seat.noise_private)
        self.session = ClientSession(static, hello, relay_key=crowd.relay_key, pattern=Pattern.IK)
        self.splitter = Splitter()
        self.heard: list[Struct] = []
        self.sock.sendall(upgrade_request(url.netloc, url.path, SUBPROTOCOL))
        received = b""
        while (rest := split_response(received)) is None:
            received += self.read()
        assert rest == b"", "the server spoke before the client did"
        self.sock.sendall(masked(self.session.open()))

    def read(self) -> bytes:
        """What the server sends next. Raises ConnectionError at the end."""
        received = self.sock.recv(65_536)
        if not received:
            raise ConnectionError
        return received

    def wait(self, kind: type[Frame]) -> Frame:
        """The next frame of a kind."""
        while not (found := [frame for frame in self.heard if isinstance(frame, kind)]):
            for message in self.splitter.feed(self.read()):
                self.heard += self.session.receive(message.payload)
        self.heard = [frame for frame in self.heard if frame is not found[0]]
        return found[0]

    def say(self, frame: f.ClientFrame) -> None:
        """Send a frame."""
        self.sock.sendall(masked(self.session.send(frame)))


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    """Four people in two pairs at a null server."""
    with open_null_server(4, tmp_path) as (_, file):
        yield read_crowd(file)


@pytest.fixture
def pair(crowd: Crowd) -> Iterator[tuple[Client, Client]]:
    """The first two, both welcomed and joined."""
    clients = Client(crowd, 0), Client(crowd, 1)
    for client in clients:
        client.wait(f.Welcome)
        client.say(f.Join())
        client.wait(f.Joined)
    yield clients
    for client in clients:
        client.sock.close()


def send(crowd: Crowd, sealed: bytes) -> f.Send:
    """A message of the first to the second."""
    room = crowd.rooms[0]
    client_id = ClientId(uuid7(1, os.urandom(ENTROPY_BYTES)))
    return f.Send(client_id, room.conversation, crowd.seats[0].profile, 1, devices={crowd.seats[1].device: sealed})


def test_a_message_is_acked_and_delivered(crowd: Crowd, pair: tuple[Client, Client]) -> None:
    """The sender has its ack and its place in the order, the other one the ciphertext, with the same number."""
    alice, bob = pair
    for number in (1, 2):
        said = send(crowd, b"ciphertext" * number)
        alice.say(said)
        ack, own, new = alice.wait(f.Ack), alice.wait(f.Gap), bob.wait(f.New)
        assert (ack.client_id, ack.seq, own.from_seq, own.why) == (said.client_id, number, number, f.GapReason.OWN)
        assert (new.seq, new.ciphertext, new.sender_device) == (number, b"ciphertext" * number, alice.seat.device)


def test_large_messages_come_whole(crowd: Crowd, pair: tuple[Client, Client]) -> None:
    """The largest ciphertext there may be comes as it was sent."""
    alice, bob = pair
    sealed = os.urandom(48 * 1024)
    alice.say(send(crowd, sealed))
    new = bob.wait(f.New)
    assert new.ciphertext == sealed


def test_a_confirmation_is_passed_on(crowd: Crowd, pair: tuple[Client, Client]) -> None:
    """What one confirms the other hears of, as at a relay."""
    alice, bob = pair
    alice.say(send(crowd, b"x"))
    bob.wait(f.New)
    bob.say(f.Delivered(crowd.rooms[0].conversation, 1))
    told = alice.wait(f.DeliveredBy)
    assert (told.profile, told.upto) == (bob.seat.profile, 1)


def test_nobody_is_disturbed_by_who_is_away(crowd: Crowd, pair: tuple[Client, Client]) -> None:
    """A message to somebody who has hung up is acked all the same."""
    alice, bob = pair
    bob.sock.close()
    alice.say(send(crowd, b"x"))
    assert alice.wait(f.Ack).seq == 1


@pytest.mark.parametrize("nonsense", [b"GET / HTTP/1.1\r\n\r\n", b"x" * 300_000])
def test_nonsense_ends_the_connection_and_nothing_else(
    crowd: Crowd, pair: tuple[Client, Client], nonsense: bytes
) -> None:
    """Whoever does not speak the protocol is hung up on, and the others go on."""
    url = urlsplit(crowd.relay_url)
    assert url.port is not None
    with socket.create_connection(("127.0.0.1", url.port), timeout=SECONDS) as sock:
        try:
            sock.sendall(nonsense)
            while sock.recv(65_536):
                pass  # an answer of HTTP, perhaps
        except ConnectionError:
            pass  # hung up on before all was said
    alice, _ = pair
    alice.say(send(crowd, b"x"))
    assert alice.wait(f.Ack).seq == 1


def test_it_ends_with_who_started_it(tmp_path: Path) -> None:
    """After the block there is no process left."""
    with open_null_server(2, tmp_path) as (process, _):
        pid = process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
