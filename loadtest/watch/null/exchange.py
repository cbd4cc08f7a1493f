"""What a null server knows: who is in which pair, who is there, and the last number of each conversation."""

import os
import time
from uuid import UUID

from loadtest.crowd.crowd import Crowd
from varde_contract import frames as f
from varde_contract.ids import ENTROPY_BYTES, ConversationId, DeviceId, MessageId, ProfileId, SessionId, uuid7

_HEARTBEAT_MS = 600_000
"""Never within a calibration: pings are not what is looked at."""
_LIMITS = f.ServerLimits(48 * 1024, 1_000_000, 1 << 40, 1_000)


class Exchange:
    """Answers frames with frames: `(device, frame)`, of which those for somebody who is away are left out."""

    def __init__(self, crowd: Crowd) -> None:
        self._conversations = [room.conversation for room in crowd.rooms]
        self._rooms = {room.conversation: place for place, room in enumerate(crowd.rooms)}
        self._members = [[crowd.seats[seat].device for seat in room.members] for room in crowd.rooms]
        self._seats = {seat.device: seat for seat in crowd.seats}
        self._heads = [0] * len(crowd.rooms)

    def knows(self, device: DeviceId) -> bool:
        """Whether it is one of the crowd's devices."""
        return device in self._seats

    def welcome(self, device: DeviceId) -> f.Welcome:
        """The first frame."""
        heads = tuple(f.Head(self._conversations[room], self._heads[room], 0, 1) for room in self._seats[device].rooms)
        return f.Welcome(SessionId(_new()), _now_ms(), _HEARTBEAT_MS, _LIMITS, heads, more=False)

    def answer(self, device: DeviceId, frame: f.ClientFrame) -> list[tuple[DeviceId, f.ServerFrame]]:
        """Return who is told what."""
        match frame:
            case f.Join():
                return [(device, self._joined(room)) for room in self._seats[device].rooms]
            case f.Send():
                return self._send(device, frame)
            case f.Delivered(conversation, upto):
                told = f.DeliveredBy(conversation, self._seats[device].profile, upto)
                return [(other, told) for other in self._others(device, conversation)]
        return []

    def _joined(self, room: int) -> f.Joined:
        head = self._heads[room]
        return f.Joined(self._conversations[room], head + 1, head, 1)

    def _send(self, device: DeviceId, send: f.Send) -> list[tuple[DeviceId, f.ServerFrame]]:
        room = self._rooms.get(send.conversation)
        if room is None:
            return []
        seq = self._heads[room] = self._heads[room] + 1
        message, now_ms = MessageId(_new()), _now_ms()
        told: list[tuple[DeviceId, f.ServerFrame]] = [
            (device, f.Ack(send.client_id, send.conversation, message, seq, now_ms)),
            (device, f.Gap(send.conversation, seq, seq, f.GapReason.OWN)),
        ]
        for other in self._others(device, send.conversation):
            sealed = send.group if send.devices is None else send.devices.get(other)
            if sealed is not None:
                told.append((other, _new_frame(send, seq, message, device, now_ms, sealed)))
        return told

    def _others(self, device: DeviceId, conversation: ConversationId) -> list[DeviceId]:
        room = self._rooms.get(conversation)
        return [] if room is None else [other for other in self._members[room] if other != device]


def _new_frame(send: f.Send, seq: int, message: MessageId, device: DeviceId, now_ms: int, sealed: bytes) -> f.New:
    return f.New(send.conversation, seq, message, send.client_id, ProfileId(send.profile), device, now_ms, sealed)


def _new() -> UUID:
    return uuid7(_now_ms(), os.urandom(ENTROPY_BYTES))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
