"""The MQTT client of the benchmark: packets however the stream is cut, and what a broker may not do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.durable import mosquitto as mqtt
from bench.durable.load import DurableServer, Load
from bench.durable.measure import counts_of
from bench.durable.mosquitto import MqttClient, split_packets, write_packet
from loadtest.client.websocket import ServerFault

packets = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=8)


@given(packets, st.data())
def test_packets_are_whole_however_the_stream_was_cut(sent: list[tuple[int, bytes]], data: st.DataObject) -> None:
    """Every packet comes out once, in order, as it went in."""
    stream, rest, received = b"".join(write_packet(*each) for each in sent), b"", list[tuple[int, bytes]]()
    places = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=12)))
    for start, end in zip([0, *places], [*places, len(stream)], strict=True):
        found, rest = split_packets(rest + stream[start:end])
        received += found
    assert received == sent


@pytest.mark.parametrize(
    ("size", "length"),
    [(0, b"\x00"), (127, b"\x7f"), (128, b"\x80\x01"), (16_383, b"\xff\x7f")],
)
def test_lengths_are_written_as_the_standard_says(size: int, length: bytes) -> None:
    """The table in section 2.2.3 holds."""
    assert write_packet(mqtt.PUBLISH, bytes(size))[1 : -size or None] == length


def test_a_longer_packet_than_any_that_was_sent_is_refused() -> None:
    """A third byte of length is nothing that this benchmark asked for."""
    with pytest.raises(ServerFault, match="longer than any"):
        split_packets(b"\x30\xff\xff\x01")


@pytest.fixture
def client() -> MqttClient:
    """A client that is connected and subscribed."""
    client = MqttClient(0, Load(DurableServer(0, MqttClient, {}, {}), 2))
    assert client.open() == b"\x10\x0e\x00\x04MQTT\x04\x00\x00\x00\x00\x02d0"
    assert client.receive(b"\x20\x02\x00\x00") == b"\x82\x07\x00\x01\x00\x02d0\x01"
    before = client.ready
    assert client.receive(b"\x90\x03\x00\x01\x01") == b""
    assert (before, client.ready) == (False, True)
    return client


def test_a_message_is_acked_and_booked_once(client: MqttClient) -> None:
    """What the broker delivers is answered with PUBACK for its identifier; an ack for nothing counts for nothing."""
    load = client._load
    for _ in range(2):
        client.send(load.ledger.draw(0, 0, 0, 256, 1))
    assert client.receive(b"\x40\x02\x00\x02\x40\x02\x00\x02\x40\x02\x70\x00") == b""
    payload = load.ledger.draw(1, 0, 0, 256, 1).payload
    assert client.receive(write_packet(0x32, b"\x00\x02d0\x00\x4d" + payload)) == b"\x40\x02\x00\x4d"
    account = counts_of(load.settle(0))
    assert (account["acked"], account["received"]) == (1, 1)


@pytest.mark.parametrize("refusal", [b"\x20\x02\x00\x05", b"\x90\x03\x00\x01\x80", b"\x90\x03\x00\x01\x00"])
def test_a_broker_that_refuses_ends_the_benchmark(client: MqttClient, refusal: bytes) -> None:
    """No sign-in, no subscription, or one with a lower quality of service, is no measurement."""
    with pytest.raises(ServerFault, match="refused a client"):
        client.receive(refusal)


def test_delivery_with_less_care_ends_the_benchmark(client: MqttClient) -> None:
    """A broker that delivers with QoS 0 does less work than it was asked for."""
    with pytest.raises(ServerFault, match="quality of service"):
        client.receive(write_packet(mqtt.PUBLISH, b"\x00\x02d0payload"))
