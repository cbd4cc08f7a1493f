"""A server that does nothing but speak the protocol: acks and deliveries at once, from memory.

`python -m loadtest.watch.null_server --users N --crowd FILE` makes its users, writes the file of their crowd, says that
it listens with one line, and serves until its standard input ends: it does not outlive who started it. It talks to our
own generator on the loopback: of the protocol it does what that needs, and hangs up on anything else.
"""

import argparse
import asyncio
import os
import resource
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Final, cast
from uuid import UUID

import psutil
import uvloop
from msgspec import Struct
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.speedups import apply_mask
from websockets.typing import Subprotocol

from loadtest.client.protocol import PATH
from loadtest.crowd.crowd import Crowd, Room, Seat, write_crowd
from varde_contract import frames as f
from varde_contract import ids
from varde_contract.errors import LocalMisuse, PeerFault
from varde_contract.ids import ConversationId, DeviceId
from varde_contract.noise import KeyPair
from varde_contract.session import SUBPROTOCOL, ServerSession

_HOST: Final = "127.0.0.1"
_BACKLOG: Final = 4096
_READY: Final = "listening"
_READY_SECONDS: Final = 60.0
_END_SECONDS: Final = 10.0
_HEARTBEAT_MS: Final = 600_000  # never within a calibration: pings are not what is looked at
_LIMITS: Final = f.ServerLimits(48 * 1024, 1_000_000, 1 << 40, 1_000)
_TICKET: Final = "null." + "t" * 400
"""Nobody checks tickets here. They are as long as real ones, since that is what the generator has to send."""
_DAY_MS: Final = 86_400_000
_BINARY: Final = 0x82
_SHORT: Final = 125


class NullServerFault(Exception):
    """The null server did not start."""


class NullServer(Struct, frozen=True):
    """One that listens. The crowd's file says where."""

    pid: int
    crowd: Path

    def cpu_seconds(self) -> float:
        """What it has used until now."""
        spent = psutil.Process(self.pid).cpu_times()
        return float(spent.user + spent.system)


@contextmanager
def open_null_server(users: int, folder: Path) -> Iterator[NullServer]:
    """Run one for so many users; the file of their crowd is in `folder`. Raises NullServerFault."""
    crowd = folder / "null.crowd"
    command = (sys.executable, "-m", "loadtest.watch.null_server", "--users", str(users), "--crowd", str(crowd))
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own program
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            ready, _, _ = select.select([process.stdout], [], [], _READY_SECONDS)
            if not ready or process.stdout.readline().strip() != _READY:
                raise NullServerFault("the null server did not say that it listens")
            yield NullServer(process.pid, crowd)
        finally:
            process.stdin.close()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def make_crowd(users: int, relay_url: str, relay_key: bytes) -> Crowd:
    """Return `users` devices in pairs, one more when they are odd."""
    pairs = [(first, first + 1) for first in range(0, users, 2)]
    seats = [
        Seat(
            account=ids.AccountId(_new_id()),
            profile=ids.ProfileId(_new_id()),
            device=DeviceId(_new_id()),
            noise_private=KeyPair.generate().private_bytes(),
            ticket=_TICKET,
            access_token="",
            rooms=(room,),
        )
        for room, members in enumerate(pairs)
        for _ in members
    ]
    return Crowd(
        relay_url=relay_url,
        api_url="",
        relay_key=relay_key,
        payload_key=os.urandom(32),
        tickets_expire_ms=_now_ms() + _DAY_MS,
        seats=tuple(seats),
        rooms=tuple(Room(ConversationId(_new_id()), members, 1, group=False) for members in pairs),
    )


class Exchange:
    """What the server knows: who is in which pair, who is connected, the last number of each conversation."""

    def __init__(self, crowd: Crowd, static: KeyPair) -> None:
        self.static = static
        self.peers: dict[DeviceId, _Peer] = {}
        self._profiles = {seat.device: seat.profile for seat in crowd.seats}
        self._joined = {seat.device: [crowd.rooms[room].conversation for room in seat.rooms] for seat in crowd.seats}
        self._members = {room.conversation: [crowd.seats[at].device for at in room.members] for room in crowd.rooms}
        self._heads = dict.fromkeys(self._members, 0)

    def welcome(self, device: DeviceId) -> f.Welcome:
        """The first frame. Raises LocalMisuse for a device of no crowd."""
        if device not in self._joined:
            raise LocalMisuse("a device of no crowd")
        heads = tuple(f.Head(joined, self._heads[joined], 0, 1) for joined in self._joined[device])
        return f.Welcome(ids.SessionId(_new_id()), _now_ms(), _HEARTBEAT_MS, _LIMITS, heads, more=False)

    def answer(self, device: DeviceId, frame: f.ClientFrame) -> Iterator[tuple[DeviceId, f.ServerFrame]]:
        """Return who is told what."""
        match frame:
            case f.Join():
                for joined in self._joined[device]:
                    yield device, f.Joined(joined, self._heads[joined] + 1, self._heads[joined], 1)
            case f.Send() if frame.conversation in self._members:
                yield from self._send(device, frame)
            case f.Delivered(conversation, upto):
                for other in self._others(device, conversation):
                    yield other, f.DeliveredBy(conversation, self._profiles[device], upto)

    def _send(self, device: DeviceId, send: f.Send) -> Iterator[tuple[DeviceId, f.ServerFrame]]:
        joined = send.conversation
        seq = self._heads[joined] = self._heads[joined] + 1
        message, now_ms, profile = ids.MessageId(_new_id()), _now_ms(), ids.ProfileId(send.profile)
        yield device, f.Ack(send.client_id, joined, message, seq, now_ms)
        yield device, f.Gap(joined, seq, seq, f.GapReason.OWN)
        for other in self._others(device, joined):
            text = send.group if send.devices is None else send.devices.get(other)
            if text is not None:
                yield other, f.New(joined, seq, message, send.client_id, profile, device, now_ms, text)

    def _others(self, device: DeviceId, conversation: ConversationId) -> list[DeviceId]:
        return [other for other in self._members.get(conversation, ()) if other != device]


class _Peer(asyncio.Protocol):
    """One connection: the upgrade, frames of WebSocket, the session."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._session = ServerSession(exchange.static)
        self._upgrade: ServerProtocol | None = ServerProtocol(subprotocols=[Subprotocol(SUBPROTOCOL)])
        self._unread = b""
        self._device: DeviceId | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self._device is not None and self._exchange.peers.get(self._device) is self:
            del self._exchange.peers[self._device]

    def data_received(self, data: bytes) -> None:
        try:
            if self._upgrade is not None:
                self._answer_upgrade(self._upgrade, data)
                return
            self._unread += data
            for message in self._split():
                self._receive(message)
        except (PeerFault, LocalMisuse):
            self._transport.abort()

    def _answer_upgrade(self, upgrade: ServerProtocol, data: bytes) -> None:
        upgrade.receive_data(data)
        for request in upgrade.events_received():
            response = upgrade.accept(cast("Request", request))
            upgrade.send_response(response)
            self._transport.write(b"".join(upgrade.data_to_send()))
            self._upgrade = None
            if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
                self._transport.close()
        if upgrade.handshake_exc is not None:
            raise LocalMisuse("no upgrade to WebSocket")

    def _receive(self, message: bytes) -> None:
        frames = self._session.receive(message)
        if (reply := self._session.take_reply()) is not None:
            self._write(reply)
        if self._device is None and self._session.hello is not None:
            self.send(self._exchange.welcome(device := self._session.hello.device))
            self._device, self._exchange.peers[device] = device, self
        answers: dict[DeviceId, list[f.ServerFrame]] = {}
        for frame in frames:
            assert self._device is not None  # the session lets no frame pass before Welcome
            for device, answer in self._exchange.answer(self._device, frame):
                answers.setdefault(device, []).append(answer)
        for device, told in answers.items():
            if (peer := self._exchange.peers.get(device)) is not None:
                peer.send(*told)

    def send(self, *frames: f.ServerFrame) -> None:
        """Send frames, all in one message."""
        self._write(self._session.send(*frames))

    def _write(self, message: bytes) -> None:
        size = len(message)
        head = bytes((_BINARY, size)) if size <= _SHORT else b"\x82\x7e" + size.to_bytes(2, "big")
        self._transport.write(head + message)

    def _split(self) -> list[bytes]:
        """Return the unmasked payloads of all frames that are whole, which must be final binary ones below 64 KiB.

        The library's own reading would cost more than everything else here, and make the server the limit.
        """
        messages, stream, start = [], self._unread, 0
        while len(stream) - start >= 8:  # noqa: PLR2004 - two bytes, a length, a key: no message of a client is shorter
            size, begin = stream[start + 1] & 0x7F, start + 6
            if size > _SHORT:
                size, begin = int.from_bytes(stream[start + 2 : start + 4], "big"), start + 8
            if stream[start] != _BINARY or stream[start + 1] in {0x7F, 0xFF} or not stream[start + 1] & 0x80:
                raise LocalMisuse("a frame that the generator does not send")
            if begin + size > len(stream):
                break
            messages.append(apply_mask(stream[begin : begin + size], stream[begin - 4 : begin]))
            start = begin + size
        self._unread = stream[start:]
        return messages


def _new_id() -> UUID:
    return ids.uuid7(_now_ms(), os.urandom(ids.ENTROPY_BYTES))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def _serve(users: int, path: Path) -> None:
    static, ended, loop = KeyPair.generate(), asyncio.Event(), asyncio.get_running_loop()
    exchange: list[Exchange] = []
    server = await loop.create_server(lambda: _Peer(exchange[0]), _HOST, 0, backlog=_BACKLOG)
    crowd = make_crowd(users, f"ws://{_HOST}:{server.sockets[0].getsockname()[1]}{PATH}", static.public)
    exchange.append(Exchange(crowd, static))
    write_crowd(path, crowd)
    loop.add_reader(sys.stdin.fileno(), ended.set)
    sys.stdout.write(f"{_READY}\n")
    sys.stdout.flush()
    await ended.wait()


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--crowd", type=Path, required=True)
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(_serve(given.users, given.crowd))


if __name__ == "__main__":
    main()
