"""MQTT 3.1.1, as much as a client with a persistent session and QoS 1 needs. Sans-I/O."""

from typing import Final, NamedTuple

from bench.durable.dialect import Tally
from bench.durable.ledger import partner_of
from bench.durable.pipe import Pipe
from loadtest.client.websocket import ServerFault

CONNECT: Final = 0x10
CONNACK: Final = 0x20
PUBLISH: Final = 0x30
PUBACK: Final = 0x40
SUBSCRIBE: Final = 0x82  # its low bits are fixed (2.2.2)
SUBACK: Final = 0x90
DISCONNECT: Final = 0xE0
QOS_1: Final = 0x02
_TYPE: Final = 0xF0
_QOS: Final = 0x06
_PERSISTENT: Final = 0x00  # connect flags without Clean Session (3.1.2.4)
_LENGTH_BYTES: Final = 4
_IDS: Final = 0xFFFF


class Packet(NamedTuple):
    """One control packet (2.1): its first byte, and what follows the length."""

    head: int
    body: bytes


def write_packet(head: int, body: bytes) -> bytes:
    """Return a control packet, with its length as 2.2.3 has it."""
    length, left = bytearray(), len(body)
    while True:
        left, digit = divmod(left, 128)
        length.append(digit | 0x80 if left else digit)
        if not left:
            return bytes((head, *length)) + body


def write_text(text: str) -> bytes:
    """Return a UTF-8 string as 1.5.3 has it."""
    octets = text.encode()
    return len(octets).to_bytes(2, "big") + octets


def connect_packet(client: str) -> bytes:
    """Return CONNECT for a session that outlives the connection; no keep-alive."""
    return write_packet(CONNECT, write_text("MQTT") + bytes((4, _PERSISTENT, 0, 0)) + write_text(client))


def subscribe_packet(packet: int, topic: str) -> bytes:
    """Return SUBSCRIBE to one topic with QoS 1."""
    return write_packet(SUBSCRIBE, packet.to_bytes(2, "big") + write_text(topic) + b"\x01")


def publish_packet(packet: int, topic: str, payload: bytes) -> bytes:
    """Return PUBLISH with QoS 1."""
    return write_packet(PUBLISH | QOS_1, write_text(topic) + packet.to_bytes(2, "big") + payload)


def puback_packet(packet: bytes) -> bytes:
    """Return PUBACK for a packet identifier of two bytes."""
    return b"\x40\x02" + packet


def read_publish(packet: Packet) -> tuple[bytes, bytes]:
    """Return packet identifier and payload of a PUBLISH. Raises ServerFault for another QoS than 1."""
    if packet.head & _QOS != QOS_1:
        raise ServerFault("the server delivers with another quality of service than 1")
    body = packet.body
    start = 2 + int.from_bytes(body[:2], "big")
    return body[start : start + 2], body[start + 2 :]


class PacketSplitter:
    """Bytes in, whole packets out, however the stream was cut."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, received: bytes) -> list[Packet]:
        """Take what was received and return the packets that are complete now. Raises ServerFault."""
        stream = self._rest + received if self._rest else received
        packets, start = [], 0
        while (span := _measure(stream, start)) is not None and span[1] <= len(stream):
            packets.append(Packet(stream[start], stream[span[0] : span[1]]))
            start = span[1]
        self._rest = stream[start:]
        return packets


def _measure(stream: bytes, start: int) -> tuple[int, int] | None:
    """Where the body of the packet at `start` begins and ends; None when its length is not all there."""
    length = 0
    for place in range(_LENGTH_BYTES):
        at = start + 1 + place
        if at >= len(stream):
            return None
        length |= (stream[at] & 0x7F) << 7 * place
        if not stream[at] & 0x80:
            return at + 1, at + 1 + length
    raise ServerFault("a packet's length does not end")


def client_name(number: int) -> str:
    """Return the client identifier of a connection; its topic has the same name."""
    return f"d{number}"


class MqttDialect:
    """One client: it subscribes to its own topic, publishes to its partner's, and acks what it gets at once."""

    __slots__ = ("_number", "_packet", "_packets", "_pipe", "_tally", "_topic", "_unacked", "live")
    owes = False

    def __init__(self, number: int, pipe: Pipe, tally: Tally) -> None:
        self._number = number
        self._pipe = pipe
        self._tally = tally
        self._packets = PacketSplitter()
        self._packet = 1
        self._topic = client_name(partner_of(number))
        self._unacked: set[bytes] = set()
        self.live = False

    def open(self) -> bytes:
        """Return the upgrade or, without one, CONNECT."""
        return self._pipe.open() or self._connect()

    def feed(self, received: bytes) -> bytes:
        """Take what was received; return acks and what the handshake asks for."""
        before = self._pipe.ready
        payloads, reply = self._pipe.unwrap(received)
        if self._pipe.ready and not before:
            reply += self._connect()
        said = b"".join(self._hear(packet) for payload in payloads for packet in self._packets.feed(payload))
        return reply + self._pipe.wrap(said) if said else reply

    def send(self, payload: bytes) -> bytes:
        """Return PUBLISH."""
        self._packet = packet = self._packet % _IDS + 1
        self._unacked.add(packet.to_bytes(2, "big"))
        return self._pipe.wrap(publish_packet(packet, self._topic, payload))

    def confirm(self) -> bytes:
        """Nothing is ever owed."""
        return b""

    def leave(self) -> bytes:
        """Return DISCONNECT; the session stays."""
        return self._pipe.wrap(write_packet(DISCONNECT, b""))

    def _connect(self) -> bytes:
        return self._pipe.wrap(connect_packet(client_name(self._number)))

    def _hear(self, packet: Packet) -> bytes:
        kind = packet.head & _TYPE
        if kind == PUBLISH:
            identifier, payload = read_publish(packet)
            self._tally.receive(self._number, payload)
            return puback_packet(identifier)
        if kind == PUBACK:
            if packet.body in self._unacked:
                self._unacked.remove(packet.body)
                self._tally.ack(self._number, 1)
            return b""
        return self._hear_handshake(kind, packet.body)

    def _hear_handshake(self, kind: int, body: bytes) -> bytes:
        if kind == CONNACK and body[1:2] == b"\x00":
            return subscribe_packet(1, client_name(self._number))
        if kind == SUBACK and body[2:3] == b"\x01":
            self.live = True
            return b""
        raise ServerFault(f"the server refused a client: packet {kind:#x} with {body[:8].hex()}")
