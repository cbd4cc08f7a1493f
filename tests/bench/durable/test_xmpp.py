"""The XMPP client of the benchmark: stanzas and acks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.durable.ledger import Ledger
from bench.durable.pipe import WebSocketPipe
from bench.durable.xmpp import OPEN, PRESENCE, Stanza, XmppDialect, read_stanza
from loadtest.client import websocket
from loadtest.client.websocket import ServerFault, masked
from tests.bench.durable.cutting import cut

ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n" % websocket._ACCEPT
)
MESSAGE = b"<message xml:lang='en' from='u1@localhost/bench' xmlns='jabber:client'><body>%b</body></message>"


def frame(element: bytes) -> bytes:
    """One text frame of a server."""
    size = len(element)
    head = bytes((0x81, size)) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")
    return head + element


def open_client(ledger: Ledger) -> XmppDialect:
    """A client that has signed in."""
    client = XmppDialect(0, WebSocketPipe("localhost:1", "/ws", "xmpp", opcode=websocket.TEXT), ledger)
    assert b"Sec-WebSocket-Protocol: xmpp\r\n" in client.open()
    assert client.feed(ACCEPTED) == masked(OPEN, websocket.TEXT)
    for element, answer in (
        (b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>", b""),
        (b"<stream:features xmlns:stream='http://etherx.jabber.org/streams'/>", b"<auth "),
        (b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", b"<open "),
        (b"<stream:features/>", b"<iq "),
        (b"<iq type='result' id='bind'/>", b"<enable "),
        (b"<enabled xmlns='urn:xmpp:sm:3'/>", PRESENCE),
    ):
        said = client.feed(frame(element))
        assert unmask(said).startswith(answer)
    before = client.live
    client.feed(frame(b"<presence xmlns='jabber:client' from='u0@localhost/bench'/>"))
    assert (before, client.live) == (False, True)
    return client


def unmask(frames: bytes) -> bytes:
    """What is in the client's one frame, if there is one."""
    if not frames:
        return b""
    start = 2 if frames[1] & 0x7F < 126 else 4
    mask, payload = frames[start : start + 4], frames[start + 4 :]
    return bytes(octet ^ mask[place % 4] for place, octet in enumerate(payload))


@given(st.integers(1, 6), st.data())
def test_stanzas_are_whole_however_the_stream_was_cut(count: int, data: st.DataObject) -> None:
    """Messages are booked once each, and the server's request is answered with how many stanzas came before it."""
    ledger = Ledger(2)
    client = open_client(ledger)
    stream = b"".join(frame(MESSAGE % ledger.draw(1, 0)) for _ in range(count)) + frame(b"<r xmlns='urn:xmpp:sm:3'/>")
    said = b"".join(client.feed(piece) for piece in cut(stream, data))
    assert ledger.account().received == count
    assert unmask(said) == b'<a xmlns="urn:xmpp:sm:3" h="%d"/>' % (count + 1)  # and the presence


@pytest.mark.parametrize(
    ("element", "stanza"),
    [
        (MESSAGE % b"text", Stanza(b"message", None, b"text")),
        (b"<a xmlns='urn:xmpp:sm:3' h='12'/>", Stanza(b"a", 12, b"")),
        (b"<?xml version='1.0'?><stream:features/>", Stanza(b"features", None, b"")),
        (b"<presence h='1'/>", Stanza(b"presence", None, b"")),
    ],
)
def test_an_element_is_read(element: bytes, stanza: Stanza) -> None:
    """Name, count and body are what the element says."""
    assert read_stanza(element) == stanza


def test_what_is_no_element_is_refused() -> None:
    """Text outside of an element is no XMPP over WebSocket."""
    with pytest.raises(ServerFault, match="no element"):
        read_stanza(b"hello")


def test_acks_are_of_messages_only() -> None:
    """The presence that a client begins with is in the server's count, and not in the ledger's."""
    ledger = Ledger(2)
    client = open_client(ledger)
    for _ in range(3):
        client.send(ledger.draw(0, 0))
    acked = []
    for count in (0, 1, 3, 3, 4):
        client.feed(frame(b"<a xmlns='urn:xmpp:sm:3' h='%d'/>" % count))
        acked.append(ledger.account().acked)
    assert acked == [0, 0, 2, 2, 3]


@pytest.mark.parametrize("count", [0, 9])
def test_an_impossible_ack_ends_the_benchmark(count: int) -> None:
    """A server acks neither less than before nor more than was sent."""
    client = open_client(Ledger(2))
    client.feed(frame(b"<a xmlns='urn:xmpp:sm:3' h='1'/>"))
    with pytest.raises(ServerFault, match="not sent"):
        client.feed(frame(b"<a xmlns='urn:xmpp:sm:3' h='%d'/>" % count))


def test_a_refused_sign_in_ends_the_benchmark() -> None:
    """A wrong password is told in words."""
    client = XmppDialect(0, WebSocketPipe("localhost:1", "/ws", "xmpp", opcode=websocket.TEXT), Ledger(2))
    client.feed(ACCEPTED)
    with pytest.raises(ServerFault, match="not-authorized"):
        client.feed(frame(b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>"))
