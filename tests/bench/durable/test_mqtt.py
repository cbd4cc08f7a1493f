"""The MQTT client of the benchmark: packets however the stream is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.durable import mqtt
from bench.durable.ledger import Ledger
from bench.durable.mqtt import MqttDialect, Packet, PacketSplitter
from bench.durable.pipe import TcpPipe
from loadtest.client.websocket import ServerFault
from tests.bench.durable.cutting import cut

packets = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=8)


@given(packets, st.data())
def test_packets_are_whole_however_the_stream_was_cut(said: list[tuple[int, bytes]], data: st.DataObject) -> None:
    """Every packet comes out once, in order, as it went in."""
    stream = b"".join(mqtt.write_packet(*each) for each in said)
    splitter = PacketSplitter()
    heard = [packet for piece in cut(stream, data) for packet in splitter.feed(piece)]
    assert heard == [Packet(*each) for each in said]


@pytest.mark.parametrize(
    ("size", "length"),
    [(0, b"\x00"), (127, b"\x7f"), (128, b"\x80\x01"), (16_383, b"\xff\x7f"), (16_384, b"\x80\x80\x01")],
)
def test_lengths_are_written_as_the_standard_says(size: int, length: bytes) -> None:
    """The table in section 2.2.3 holds."""
    assert mqtt.write_packet(mqtt.PUBLISH, bytes(size))[1 : -size or None] == length


def test_a_length_that_does_not_end_is_refused() -> None:
    """A fifth byte of length is no MQTT."""
    with pytest.raises(ServerFault, match="does not end"):
        PacketSplitter().feed(b"\x30\xff\xff\xff\xff\x01")


def open_client(ledger: Ledger) -> MqttDialect:
    """A client that is connected and subscribed."""
    client = MqttDialect(0, TcpPipe(), ledger)
    assert client.open() == b"\x10\x0e\x00\x04MQTT\x04\x00\x00\x00\x00\x02d0"
    assert client.feed(b"\x20\x02\x00\x00") == b"\x82\x07\x00\x01\x00\x02d0\x01"
    before = client.live
    assert client.feed(b"\x90\x03\x00\x01\x01") == b""
    assert (before, client.live) == (False, True)
    return client


def test_a_message_is_acked_and_booked() -> None:
    """What the broker delivers is answered with PUBACK for its own identifier, and is in the ledger."""
    ledger = Ledger(2)
    client = open_client(ledger)
    payload = ledger.draw(1, 0)
    assert client.feed(mqtt.publish_packet(77, "d0", payload)) == mqtt.puback_packet(b"\x00\x4d")
    assert ledger.account().received == 1


def test_only_what_was_sent_can_be_acked() -> None:
    """A PUBACK counts once, and one for nothing does not."""
    ledger = Ledger(2)
    client = open_client(ledger)
    client.send(ledger.draw(0, 0))
    client.send(ledger.draw(0, 0))
    client.feed(b"\x40\x02\x00\x02\x40\x02\x00\x02\x40\x02\x70\x00")
    assert ledger.account().acked == 1


@pytest.mark.parametrize("refusal", [b"\x20\x02\x00\x05", b"\x90\x03\x00\x01\x80", b"\x90\x03\x00\x01\x00"])
def test_a_broker_that_refuses_ends_the_benchmark(refusal: bytes) -> None:
    """No sign-in, no subscription, or one with a lower quality of service, is no measurement."""
    client = MqttDialect(0, TcpPipe(), Ledger(2))
    with pytest.raises(ServerFault, match="refused a client"):
        client.feed(refusal)


def test_delivery_with_less_care_ends_the_benchmark() -> None:
    """A broker that delivers with QoS 0 does less work than it was asked for."""
    client = open_client(Ledger(2))
    with pytest.raises(ServerFault, match="quality of service"):
        client.feed(mqtt.write_packet(mqtt.PUBLISH, mqtt.write_text("d0") + b"payload"))
