"""A server that does nothing but speak the protocol: acks and deliveries at once, from memory.

`python -m loadtest.watch.null_server USERS FILE` makes its users, writes the file of their crowd, says that
it listens with one line, and serves until its standard input ends: it does not outlive who started it. It talks to our
own generator on the loopback: of the protocol it does what that needs, and hangs up on anything else.
"""

import asyncio
import os
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import UUID

import picows as ws
import psutil
import uvloop

from loadtest.client.protocol import PATH
from loadtest.crowd.crowd import Crowd, Room, Seat, write_crowd
from loadtest.exits import CouldNotRun
from loadtest.stack.process import open_program
from varde_contract import frames as f
from varde_contract import ids
from varde_contract.ids import ConversationId, DeviceId
from varde_contract.noise import KeyPair
from varde_contract.session import SUBPROTOCOL, ServerSession

_HOST: Final = "127.0.0.1"
_BACKLOG: Final = 4096
_READY: Final = "listening"
_END_SECONDS: Final = 5.0
_HEARTBEAT_MS: Final = 600_000  # never within a calibration: pings are not what is looked at
_LIMITS: Final = f.ServerLimits(48 * 1024, 1_000_000, 1 << 40, 1_000)
# Nobody checks tickets here. They are as long as real ones, since that is what the generator has to send.
_TICKET: Final = "null." + "t" * 400
_DAY_MS: Final = 86_400_000


@contextmanager
def open_null_server(users: int, folder: Path) -> Iterator[tuple[psutil.Process, Path]]:
    """Run one for so many users: its process, and the file of their crowd, in `folder`. Raises CouldNotRun."""
    crowd = folder / "null.crowd"
    command = (sys.executable, "-m", "loadtest.watch.null_server", str(users), str(crowd))
    with open_program(command, _END_SECONDS, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdout is None or process.stdout.readline().decode().strip() != _READY:
            raise CouldNotRun("the null server did not say that it listens")
        yield psutil.Process(process.pid), crowd


def _make_crowd(users: int, relay_url: str, relay_key: bytes) -> Crowd:
    """Return `users` devices in pairs, one more when they are odd."""
    seats, rooms = list[Seat](), list[Room]()
    for first in range(0, users, 2):
        for _ in range(2):
            account, profile, device = ids.AccountId(_new_id()), ids.ProfileId(_new_id()), DeviceId(_new_id())
            private = KeyPair.generate().private_bytes()
            seats.append(Seat(account, profile, device, private, _TICKET, "", (len(rooms),)))
        rooms.append(Room(ConversationId(_new_id()), (first, first + 1), 1, group=False))
    return Crowd(
        relay_url=relay_url,
        api_url="",
        relay_key=relay_key,
        payload_key=os.urandom(32),
        tickets_expire_ms=_now_ms() + _DAY_MS,
        seats=tuple(seats),
        rooms=tuple(rooms),
    )


class _Exchange:
    """What the server knows: the two of each conversation, who is connected, the last number of each conversation."""

    def __init__(self, crowd: Crowd) -> None:
        self.connected: dict[DeviceId, _Peer] = {}
        self._heads = {room.conversation: 0 for room in crowd.rooms}
        self._own = {seat.device: (seat, crowd.rooms[seat.rooms[0]].conversation) for seat in crowd.seats}
        pairs = [[crowd.seats[at].device for at in room.members] for room in crowd.rooms]
        self._other = {device: other for pair in pairs for device, other in (pair, reversed(pair))}

    def welcome(self, device: DeviceId) -> f.Welcome:
        """The first frame. Raises KeyError for a device of no crowd."""
        _, conversation = self._own[device]
        heads = (f.Head(conversation, self._heads[conversation], 0, 1, 0),)
        return f.Welcome(ids.SessionId(_new_id()), _now_ms(), _HEARTBEAT_MS, _LIMITS, heads, more=False)

    def answer(self, device: DeviceId, frame: f.ReceivedFrame) -> Iterator[tuple[DeviceId, f.ServerFrame]]:
        """Return who is told what."""
        seat, conversation = self._own[device]
        other, head = self._other[device], self._heads[conversation]
        match frame:
            case f.Join():
                yield device, f.Joined(conversation, head + 1, head, 1, 0)
            case f.Send() if frame.devices and other in frame.devices:
                seq = self._heads[conversation] = head + 1
                message, now_ms, text = ids.MessageId(_new_id()), _now_ms(), frame.devices[other]
                yield device, f.Ack(frame.client_id, conversation, message, seq, now_ms)
                yield device, f.Gap(conversation, seq, seq, f.GapReason.OWN)
                yield other, f.New(conversation, seq, message, frame.client_id, seat.profile, device, now_ms, text)
            case f.Delivered():
                yield other, f.DeliveredBy(conversation, seat.profile, frame.upto)


class _Peer(ws.WSListener):  # picows, as what is measured is the worker: the server must not be the slower one
    """One connection. picows hangs up where a callback raises, as at a fault of the peer."""

    def __init__(self, exchange: _Exchange, static: KeyPair) -> None:
        super().__init__()
        self._exchange = exchange
        self._session = ServerSession(static)
        self._device: DeviceId | None = None

    def on_ws_frame(self, transport: ws.WSTransport, frame: ws.WSFrame) -> None:
        """Answer what one message holds; what one device is told goes into one message."""
        if frame.msg_type is not ws.WSMsgType.BINARY:
            transport.disconnect()
            return
        frames = self._session.receive(frame.get_payload_as_bytes())
        if (reply := self._session.take_reply()) is not None:
            transport.send(ws.WSMsgType.BINARY, reply)
        if self._device is None and self._session.hello is not None:
            self._device, self._transport = self._session.hello.device, transport
            self._exchange.connected[self._device] = self
            self.send(self._exchange.welcome(self._device))
        answers = defaultdict[DeviceId, list[f.ServerFrame]](list)
        for each in frames:
            assert self._device is not None  # the session lets no frame pass before Welcome
            for device, answer in self._exchange.answer(self._device, each):
                answers[device].append(answer)
        for device, told in answers.items():
            if (peer := self._exchange.connected.get(device)) is not None:
                peer.send(*told)

    def on_ws_disconnected(self, transport: ws.WSTransport) -> None:  # noqa: ARG002 - the library calls it so
        """Forget the connection, unless its device has come back by another one."""
        if self._device is not None and self._exchange.connected.get(self._device) is self:
            del self._exchange.connected[self._device]

    def send(self, *frames: f.ServerFrame) -> None:
        """Send frames, all in one message."""
        self._transport.send(ws.WSMsgType.BINARY, self._session.send(*frames))


def _new_id() -> UUID:
    return ids.uuid7(_now_ms(), os.urandom(ids.ENTROPY_BYTES))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def _serve(users: int, path: Path) -> None:
    static, ended = KeyPair.generate(), asyncio.Event()
    upgraded = ws.WSUpgradeResponse.create_101_response({"Sec-WebSocket-Protocol": SUBPROTOCOL})
    server = await ws.ws_create_server(
        lambda _: ws.WSUpgradeResponseWithListener(upgraded, _Peer(exchange, static)), _HOST, 0, backlog=_BACKLOG
    )
    crowd = _make_crowd(users, f"ws://{_HOST}:{server.sockets[0].getsockname()[1]}{PATH}", static.public)
    exchange = _Exchange(crowd)
    write_crowd(path, crowd)
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    sys.stdout.write(f"{_READY}\n")
    sys.stdout.flush()
    await ended.wait()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    uvloop.run(_serve(int(sys.argv[1]), Path(sys.argv[2])))
