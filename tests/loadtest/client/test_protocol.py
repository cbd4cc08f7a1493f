"""The client without a socket against the contract's own server side, in memory."""

import pytest
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from loadtest.client.protocol import Ending, Phase, RelayClient
from loadtest.client.websocket import MASK
from tests.cast import alice_phone
from tests.relay.memory_node import RELAY_KEY
from varde_contract import frames as f
from varde_contract.codec import encode_frame, pack
from varde_contract.errors import LocalMisuse
from varde_contract.ids import ConversationId, SessionId, uuid7
from varde_contract.session import PROTOCOL_VERSION, Pattern, ServerSession

LIMITS = f.ServerLimits(49_152, 1_000, 4_194_304, 2_000)
WELCOME = f.Welcome(SessionId(uuid7(1, bytes(10))), 1, 25_000, LIMITS, (), more=False)
SYNC = f.Sync(ConversationId(uuid7(1, bytes(10))), 1)
HELLO = f.Hello(PROTOCOL_VERSION, "ticket", alice_phone.id)


class Relay:
    """The other end: the upgrade of `websockets`, the session of the contract."""

    def __init__(self) -> None:
        self.upgrade = ServerProtocol(subprotocols=["varde.v2"])  # type: ignore[list-item]
        self.session = ServerSession(RELAY_KEY)
        self.closed_with: int | None = None

    def accept(self, request: bytes) -> bytes:
        """Answer the upgrade."""
        self.upgrade.receive_data(request)
        (asked,) = self.upgrade.events_received()
        assert isinstance(asked, Request)
        self.upgrade.send_response(self.upgrade.accept(asked))
        return b"".join(self.upgrade.data_to_send())

    def receive(self, octets: bytes) -> tuple[list[f.ReceivedFrame], bytes]:
        """Take what the client sent; return its frames, and what is sent back."""
        frames, reply = list[f.ReceivedFrame](), b""
        self.upgrade.receive_data(octets)
        for event in self.upgrade.events_received():
            assert isinstance(event, Frame)
            if event.opcode is Opcode.CLOSE:
                self.closed_with = int.from_bytes(event.data[:2], "big")
            elif event.opcode is Opcode.BINARY:
                frames += self.session.receive(bytes(event.data))
                if (answer := self.session.take_reply()) is not None:
                    reply += message(answer)
        return frames, reply


def message(payload: bytes, opcode: Opcode = Opcode.BINARY) -> bytes:
    """One frame of a server."""
    return Frame(opcode, payload).serialize(mask=False)


def open_pair(pattern: Pattern = Pattern.IK) -> tuple[RelayClient, Relay]:
    """A client that was welcomed, and its relay."""
    known = RELAY_KEY.public if pattern is Pattern.IK else None
    client, relay = RelayClient("127.0.0.1:1", "/v1/relay", HELLO, alice_phone.noise, known, pattern), Relay()
    received = relay.accept(client.open())
    while relay.session.hello is None:
        assert client.receive(received) == []
        _, received = relay.receive(client.take_reply())
    assert client.receive(received + message(relay.session.send(WELCOME))) == [WELCOME]
    assert client.live
    return client, relay


@pytest.mark.parametrize("pattern", [pattern for pattern in Pattern if not pattern.post_quantum])
def test_frames_pass_both_ways(pattern: Pattern) -> None:
    """After either handshake of the load the relay reads what the client sends, and the client what the relay says."""
    client, relay = open_pair(pattern)
    encoded = encode_frame(SYNC)
    sent = client.send(f.Join()) + client.send_encoded(f.Sync, encoded) + client.seal(pack([encoded]))
    assert relay.receive(sent)[0] == [f.Join(), SYNC, SYNC]


def test_however_the_stream_is_cut_the_events_are_the_same() -> None:
    """Byte by byte the same frames come out, and a ping is answered on the way."""
    client, relay = open_pair()
    stream = (
        message(relay.session.send(f.Lagging(0)))
        + message(b"hi", Opcode.PING)
        + message(relay.session.send(f.Lagging(1)))
    )
    events = [event for number in range(len(stream)) for event in client.receive(stream[number : number + 1])]
    assert events == [f.Lagging(0), f.Lagging(1)]
    assert client.take_reply() == bytes((0x8A, 0x82)) + MASK + bytes(a ^ b for a, b in zip(b"hi", MASK, strict=False))


def test_who_counts_gets_plaintexts() -> None:
    """Messages are decrypted and not decoded."""
    client, relay = open_pair()
    assert client.receive_plaintexts(message(relay.session.send(f.Lagging(3)))) == [pack([encode_frame(f.Lagging(3))])]


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (b"", "eof"),
        (message(b"\x03\xe9", Opcode.CLOSE), "1001"),
        (message(b"", Opcode.CLOSE), "1005"),
        (message(b"text", Opcode.TEXT), "fault"),
        (message(bytes(40)), "fault"),
    ],
)
def test_the_end_is_an_event(octets: bytes, code: str) -> None:
    """The end of the stream, a close frame and a broken protocol each come as an Ending, once."""
    client, _ = open_pair()
    assert client.receive(octets) == [Ending(code)]
    assert client.phase is Phase.CLOSED
    assert client.receive(octets) == []


def test_a_refused_upgrade_says_when_to_come_back() -> None:
    """The status is the code, and Retry-After is kept."""
    client = RelayClient("127.0.0.1:1", "/v1/relay", HELLO, alice_phone.noise, RELAY_KEY.public)
    client.open()
    assert client.receive(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\n\r\n") == [Ending("503", 7)]


def test_after_our_close_frame_the_relay_is_still_heard() -> None:
    """What was under way comes, then the relay's own close frame ends it; nothing is sent any more."""
    client, relay = open_pair()
    relay.receive(client.close())
    assert relay.closed_with == 1000
    assert not client.live
    assert client.close() == b""
    said = message(relay.session.send(f.Lagging(1)))
    assert client.receive(said + message(b"\x03\xe8", Opcode.CLOSE)) == [f.Lagging(1), Ending("1000")]
    assert client.take_reply() == b""


def test_nothing_is_sent_before_the_relay_knows_who_it_is() -> None:
    """A frame before Welcome is a bug of ours."""
    client = RelayClient("127.0.0.1:1", "/v1/relay", HELLO, alice_phone.noise, RELAY_KEY.public)
    with pytest.raises(LocalMisuse):
        client.send(f.Join())
