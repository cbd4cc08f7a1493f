"""Mosquitto with QoS 1 and persistent sessions over TCP, set as durable as it can be, and a client of its protocol.

What its PUBACK is worth beside Varde's ack is in docs/decisions/2026-11-22-durable-peers.md. The client speaks MQTT
3.1.1, sans-I/O; sections are those of the OASIS standard. paho-mqtt is not used: it takes twice the CPU for a message,
and the load must not be the limit (docs/decisions/2026-11-30-bench-peers.md).
"""

import getpass
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.durable.load import DurableClient, DurableServer, Load
from bench.server import Missing
from loadtest.client.websocket import ServerFault
from loadtest.ledger.ledger import Draft
from loadtest.stack.process import HOST, listens, open_program, tail_of, wait_for
from supervisor.ports import free_port

START_DEADLINE: Final = 60.0
STOP_DEADLINE: Final = 20.0
CONFIG: Final = Path(__file__).with_name("mosquitto.conf")
# With `on_changes` the whole store is written and synced once in each pass of the broker's loop that changed something.
SAVING: Final = {
    "each change": "autosave_on_changes true\nautosave_interval 1",
    "each second": "autosave_on_changes false\nautosave_interval 1",
}
"""How often the whole store is written to disk."""

CONNACK: Final = 0x20
PUBLISH: Final = 0x30
PUBACK: Final = 0x40
SUBACK: Final = 0x90
QOS_1: Final = 0x02
_CONNECT: Final = 0x10
_SUBSCRIBE: Final = 0x82  # its low bits are fixed (2.2.2)
_PERSISTENT: Final = bytes((4, 0, 0, 0))  # level 4, no Clean Session (3.1.2.4), no keep-alive
_TYPE: Final = 0xF0
_QOS: Final = 0x06
_MORE: Final = 0x80  # the bit of a digit of a length, which counts to 128, that says that another one follows
_IDS: Final = 0xFFFF
"""Packet identifiers have 16 bits (MQTT 3.1.1, section 2.3.1)."""


@contextmanager
def open_mosquitto(folder: Path, clients: int, *, saving: str = "each change") -> Iterator[DurableServer]:
    """Run a broker in `folder`. Raises Missing and ServerFault."""
    program = find_program("mosquitto", "mosquitto")
    port, config, log = free_port(), folder / "mosquitto.conf", folder / "mosquitto.log"
    # As root it would become another user, who has no business in the folder.
    words = {"user": getpass.getuser(), "port": port, "host": HOST, "folder": folder, "saving": SAVING[saving]}
    config.write_text(CONFIG.read_text().format(**words))
    # Nothing of our environment shall change how it runs.
    with open_program((program, "-c", str(config)), STOP_DEADLINE, log=log, env={}) as process:
        wait_for(lambda: process.poll() is not None or listens((HOST, port)), START_DEADLINE)
        if not listens((HOST, port)):
            raise ServerFault(f"mosquitto did not start:\n{tail_of(log)}")
        settings = {
            "transport": "TCP",
            "durability": f"store written at {saving}; PUBACK does not wait for it",
            "connections": str(clients),
        }
        yield DurableServer(port, MqttClient, {"mosquitto": process.pid}, settings)


def find_program(name: str, package: str) -> str:
    """Return the path of a program of the system. Raises Missing."""
    # Where Debian puts servers, which is not on every user's path.
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        raise Missing(f"{name} is not installed: apt-get install {package}")
    return found


def write_packet(head: int, body: bytes) -> bytes:
    """Return a control packet, with its length as 2.2.3 has it: one digit or two, as no packet here is longer."""
    size = len(body)
    return bytes((head, size) if size < _MORE else (head, size % _MORE | _MORE, size // _MORE)) + body


def split_packets(stream: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Return the packets that are complete, and the rest of the stream. Raises ServerFault.

    A packet (2.1) is its first byte, and what follows the length.
    """
    packets, start = list[tuple[int, bytes]](), 0
    while len(stream) - start > 1:
        size, begin = stream[start + 1], start + 2
        if size & _MORE:
            if begin == len(stream):
                break
            size, begin = size % _MORE + stream[begin] * _MORE, begin + 1
            if size >= _MORE * _MORE:
                raise ServerFault("a packet is longer than any that was sent")
        if begin + size > len(stream):
            break
        packets.append((stream[start], stream[begin : begin + size]))
        start = begin + size
    return packets, stream[start:]


class MqttClient(DurableClient):
    """One client: it subscribes to its own topic, publishes to its partner's, and acks what it gets at once."""

    __slots__ = ("_packet", "_rest", "_topic")

    def __init__(self, number: int, load: Load) -> None:
        super().__init__(number, load)
        self._topic = _text(_name(number ^ 1))
        self._packet, self._rest = 1, b""

    def open(self) -> bytes:
        """Return CONNECT for a session that outlives the connection."""
        return write_packet(_CONNECT, _text("MQTT") + _PERSISTENT + _text(_name(self.number)))

    def receive(self, received: bytes) -> bytes:
        """Return acks and what the handshake asks for."""
        if not received:
            self.lost("the server hung up")
        packets, self._rest = split_packets(self._rest + received if self._rest else received)
        return b"".join(self._answer(*packet) for packet in packets)

    def send(self, draft: Draft) -> bytes:
        """Return PUBLISH with QoS 1."""
        self._packet = packet = self._packet % _IDS + 1
        identifier = packet.to_bytes(2, "big")
        self._note_sent(identifier, draft)
        return write_packet(PUBLISH | QOS_1, self._topic + identifier + draft.payload)

    def leave(self) -> bytes:
        """Return DISCONNECT; the session stays."""
        return b"\xe0\x00"

    def _answer(self, head: int, body: bytes) -> bytes:
        kind = head & _TYPE
        if kind == PUBLISH:
            if head & _QOS != QOS_1:
                raise ServerFault("the server delivers with another quality of service than 1")
            start = 2 + int.from_bytes(body[:2], "big")
            self._note_received(body[start + 2 :])
            return bytes((PUBACK, 2)) + body[start : start + 2]
        if kind == PUBACK:
            self._note_answer(body)
        elif kind == CONNACK and body[1:2] == b"\x00":
            return write_packet(_SUBSCRIBE, b"\x00\x01" + _text(_name(self.number)) + b"\x01")
        elif kind == SUBACK and body[2:3] == b"\x01":
            self.ready = True
        else:
            raise ServerFault(f"the server refused a client: packet {kind:#x} with {body[:8].hex()}")
        return b""


def _name(number: int) -> str:
    return f"d{number}"  # a client identifier, and its topic as well


def _text(text: str) -> bytes:
    octets = text.encode()  # as 1.5.3 has it
    return len(octets).to_bytes(2, "big") + octets
