"""The members that the load plays, sans-I/O, and a running server with those that fit it."""

import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from bench import peer_protocol as peer
from bench.connections import Client, Connections
from bench.server import VARDE, Entry, Server, command_of, open_server
from loadtest.client import websocket
from loadtest.client.protocol import PATH, Ending, RelayClient
from loadtest.client.websocket import PING, PONG, ServerFault, masked, measure_frame, split_response
from loadtest.stack.certificate import Certificate, trust
from loadtest.stack.rooms import MemberKeys, Members, Plan, conversation_of, device_of, make_members, profile_of
from varde_contract import frames as f
from varde_contract.codec import decode_server_frames, encode_frame, pack
from varde_contract.ids import ClientId, uuid7
from varde_contract.noise import KeyPair
from varde_contract.refusals import RefusalCode
from varde_contract.session import PROTOCOL_VERSION, Pattern

CONTENT: Final = bytes(range(peer.CONTENT_BYTES))  # what is sent: every byte once, so that nothing else is taken for it
CHECKED: Final = 8  # messages of the server that each connection decrypts and compares before it only counts
ROSTER_VERSION: Final = 1  # of every roster: it never moves
NEW_TAG: Final = b"\x99\xa7msg:new"
ACK_TAG: Final = b"\x96\xa3ack"
"""A frame is an array that begins with its tag. No id and no content of the benchmark looks like one of these."""
_REFUSED_TAG: Final = b"\xa7refused"
_JOINED_TAG: Final = b"\xa6joined"
_CLIENT_ID_MS: Final = 1_767_225_600_000
"""January 2026: ids begin with a time, and any one does."""
_KEY_BYTES: Final = 32
_TWO_BYTE_LENGTH: Final = 126
"""RFC 6455, section 5.2."""


class Member(Client):
    """A member of a room. Counters only grow; `pings` were answered, for `refused` messages the server had no room."""

    __slots__ = ("_sent", "_to_check", "acks", "deliveries", "pings", "refused")

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._to_check = CHECKED
        self._sent = self.deliveries = self.acks = self.pings = self.refused = 0

    @abstractmethod
    def message(self) -> bytes:
        """Return the frame of the next message to the room."""


class PeerMember(Member):
    """A member at one of the peer servers."""

    __slots__ = ("_authority", "_decrypt", "_encrypt", "_hello", "_rest", "_upgraded")

    def __init__(self, authority: str, room: int, member: int, *, encrypted: bool = True) -> None:
        super().__init__(member)
        keys = os.urandom(_KEY_BYTES), os.urandom(_KEY_BYTES)
        self._authority, self._hello = authority, peer.HELLO.pack(room, member, *keys)
        sending, receiving = map(peer.Cipher, keys) if encrypted else (peer.NoCipher(), peer.NoCipher())
        self._encrypt, self._decrypt = sending.encrypt, receiving.decrypt
        self._rest, self._upgraded = b"", False

    def open(self) -> bytes:
        """Return the upgrade."""
        return websocket.upgrade_request(self._authority)

    def message(self) -> bytes:
        """Return a message with the next number."""
        self._sent = sent = self._sent + 1
        return masked(self._encrypt(peer.NUMBER.pack(sent) + CONTENT))

    def receive(self, received: bytes) -> bytes:
        """Count frames by their lengths, after the first ones were decrypted."""
        if not received:
            self.lost("the server closed it")
        stream = self._rest + received if self._rest else received
        if not self.ready:
            return self._connect(stream)
        answer, start, end = b"", 0, len(stream)
        while end - start > 3:  # noqa: PLR2004 - no frame that is counted is shorter
            size, begin = stream[start + 1], start + 2
            if size == _TWO_BYTE_LENGTH:
                size, begin = stream[begin] << 8 | stream[begin + 1], begin + 2
            stop = begin + size
            if stop > end:
                break
            if size == peer.DELIVERY_BYTES:
                self.deliveries += 1
            elif size == peer.ACK_BYTES:
                self.acks += 1
            elif stream[start] & 0x0F == PING:
                self.pings += 1
                answer += masked(stream[begin:stop], PONG)
            else:
                raise ServerFault("the server sent a frame that is neither delivery nor ack nor ping")
            if self._to_check and size in {peer.DELIVERY_BYTES, peer.ACK_BYTES}:
                self._check(stream[begin:stop])
            start = stop
        self._rest = stream[start:]
        return answer

    def _connect(self, stream: bytes) -> bytes:
        self._rest = stream
        if not self._upgraded:
            rest = split_response(stream)
            if rest is None:
                return b""
            self._upgraded, self._rest = True, rest
            return masked(self._hello)
        span = measure_frame(stream, 0)
        if span is None or span[1] > len(stream):
            return b""
        if stream[span[0] : span[1]] != peer.READY:
            raise ServerFault("the server did not answer that it is ready")
        self.ready, self._rest = True, b""
        return self.receive(stream[span[1] :]) if span[1] < len(stream) else b""

    def _check(self, ciphertext: bytes) -> None:
        self._to_check -= 1
        plain = self._decrypt(ciphertext)
        if plain[:1] == peer.DELIVERY and plain[-peer.CONTENT_BYTES :] != CONTENT:
            raise ServerFault("a delivery does not hold what was sent")


class VardeMember(Member):
    """A member's device at Varde's relay. Ready once it listens to its room; with `joins` off, once it was welcomed."""

    __slots__ = ("_after", "_before", "_joins", "_relay", "_room", "_welcomed")

    def __init__(
        self, authority: str, room: int, member: int, keys: MemberKeys, node: bytes | None, *, joins: bool
    ) -> None:
        """Without the public key of the `node`, the pattern is XX."""
        super().__init__(member)
        hello = f.Hello(PROTOCOL_VERSION, keys[1], device_of(member))
        pattern = Pattern.XX if node is None else Pattern.IK
        self._relay = RelayClient(authority, PATH, hello, KeyPair.from_private(keys[0]), node, pattern)
        self._room, self._joins, self._welcomed = room, joins, False
        # What stands before and behind the client id in a packed message that holds one `msg:send`.
        marker = ClientId(uuid7(_CLIENT_ID_MS, os.urandom(10)))
        send = f.Send(marker, conversation_of(room), profile_of(member), ROSTER_VERSION, group=CONTENT)
        self._before, _, self._after = pack([encode_frame(send)]).partition(marker.bytes)

    def open(self) -> bytes:
        """Return the upgrade."""
        return self._relay.open()

    def message(self) -> bytes:
        """Return a `msg:send` with a client id of its own."""
        self._sent = sent = self._sent + 1
        client = uuid7(_CLIENT_ID_MS + sent, self.number.to_bytes(10, "big"))
        return self._relay.seal(self._before + client.bytes + self._after)

    def receive(self, received: bytes) -> bytes:
        """Decrypt what came and count the frames in it: decoding them all would cost more than the server's work."""
        if not self._welcomed:
            return self._connect(received)
        relay = self._relay
        for plain in relay.receive_plaintexts(received):
            if isinstance(plain, Ending):
                self.lost(f"the relay closed it with {plain.code}")
            elif self.ready:
                self._count(plain)
            else:
                self.ready = _JOINED_TAG in plain
        reply = relay.take_reply()
        self.pings += bool(reply)  # after the handshake a client owes nothing but pongs
        return reply

    def _connect(self, received: bytes) -> bytes:
        relay = self._relay
        for event in relay.receive(received):
            if isinstance(event, Ending):
                self.lost(f"the relay closed it with {event.code}")
        reply, self._welcomed = relay.take_reply(), relay.live
        if self._welcomed and self._joins:
            return reply + relay.send(f.Join(conversation_of(self._room)))
        self.ready = self._welcomed
        return reply

    def _count(self, plain: bytes) -> None:
        # Several frames may be in one message, so that lengths say nothing: 1.3 us to open it and to count tags.
        self.deliveries += plain.count(NEW_TAG)
        self.acks += plain.count(ACK_TAG)
        for frame in decode_server_frames(plain) if self._to_check or _REFUSED_TAG in plain else ():
            if isinstance(frame, f.New):
                self._to_check -= self._to_check > 0
                if frame.ciphertext != CONTENT:
                    raise ServerFault("a delivery does not hold what was sent")
            elif isinstance(frame, f.RefusedFrame):
                if frame.code is not RefusalCode.OVERLOADED:
                    raise ServerFault(f"the relay refused a frame: {frame.code}")
                self.refused += 1


class Workplace(Struct, frozen=True):
    """What all measurements of a run share: the cores of server and load, a folder for files, and the certificate."""

    cores: tuple[int | None, int | None]
    folder: Path
    certificate: Certificate


class MeasuredServer(Struct, frozen=True):
    """A running server, and the connections to it."""

    entry: Entry
    server: Server
    connections: Connections
    plan: Plan
    members: Members | None

    def clients(self, members: Iterable[int], *, pattern: Pattern = Pattern.IK, joins: bool = True) -> Iterator[Member]:
        """Yield the client of each of these members. `pattern` and `joins` are for Varde's."""
        authority = f"127.0.0.1:{self.server.port}"
        for member in members:
            room = self.plan.room_of(member)
            if self.members is None:
                yield PeerMember(authority, room, member, encrypted=self.entry.encrypted)
            else:
                node, keys = self.members
                key = node if pattern is Pattern.IK else None
                yield VardeMember(authority, room, member, keys[member], key, joins=joins)


@contextmanager
def open_measured_server(
    workplace: Workplace, entry: Entry, plan: Plan, *, tls: bool = False
) -> Iterator[MeasuredServer]:
    """Run a server while the block lasts. Raises ServerFault."""
    folder, certificate = workplace.folder, workplace.certificate
    command, members, context = command_of(entry, folder), None, None
    if entry.name == VARDE:
        command += [plan.text, str(folder)]
        members = make_members(folder, plan.members)
    if tls:
        command += [str(certificate.certificate), str(certificate.key)]
        context = trust(certificate.certificate)
    with (
        open_server(command, core=workplace.cores[0], log=folder / f"{entry.name}.log") as server,
        Connections(server.port, context) as connections,
    ):
        yield MeasuredServer(entry, server, connections, plan, members)
