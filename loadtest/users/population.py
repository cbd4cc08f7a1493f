"""The users of one worker process and what they share: seats, conversations, the epoll engine, timers."""

import ssl
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING, Final

from gevent import get_hub

from loadtest.client.epoll import Connection, Engine
from loadtest.client.protocol import Ending
from loadtest.crowd.crowd import Crowd, Room, Seat
from loadtest.ledger.ledger import Ledger
from loadtest.ledger.run_time import RunClock
from loadtest.scenarios.plan import Behaviour, Plan
from loadtest.users.target import find_target
from varde_contract import frames as f
from varde_contract.ids import ENTROPY_BYTES, ClientId, ConversationId, DeviceId, ProfileId, uuid7
from varde_contract.limits import CIPHERTEXT_BYTES, MEMBERS_PER_CONVERSATION, PLAINTEXT_BYTES

_FRAME_BYTES: Final = 256  # more than a `msg:send` needs beside its ciphertexts
_DEVICE_BYTES: Final = 24  # of the map from devices to ciphertexts, for each: an id and two heads


class Conversation:
    """A conversation. Nobody writes before all readers have come once, except in a room larger than any group."""

    __slots__ = ("_absent", "_devices", "_waiting", "due", "group", "id", "most", "number", "version")

    def __init__(
        self, number: int, room: Room, devices: Sequence[tuple[int, DeviceId]], *, due: int, here: Sequence[int]
    ) -> None:
        """`devices` are those of its seats that are used; `here` those of this worker; `due` is for each message."""
        self.number = number
        self.id: ConversationId = room.conversation
        self.group = room.group
        self.version = room.roster_version
        self.due = due
        self._devices = () if room.group else tuple(devices)
        self._absent = set(here) if len(room.members) <= MEMBERS_PER_CONVERSATION else set()
        self._waiting: set[Callable[[], None]] = set()
        copies = 1 if room.group else max(1, len(self._devices) - 1)
        self.most = min(CIPHERTEXT_BYTES, (PLAINTEXT_BYTES - _FRAME_BYTES) // copies - _DEVICE_BYTES)
        """Bytes of one ciphertext, so that all of them fit a message of Noise."""

    @property
    def complete(self) -> bool:
        """Whether everybody has come."""
        return not self._absent

    def enter(self, seat: int, ready: Callable[[], None]) -> None:
        """Somebody listens. `ready` is called as soon as everybody has, if that is not the case yet."""
        self._absent.discard(seat)
        self._waiting.add(ready)
        if not self._absent:
            waiting, self._waiting = self._waiting, set()
            for each in waiting:
                each()

    def frame(self, client: ClientId, profile: ProfileId, sender: int, payload: bytes) -> f.Send:
        """Return the `msg:send` of a seat."""
        if self.group:
            return f.Send(client, self.id, profile, self.version, group=payload)
        devices = {device: payload for seat, device in self._devices if seat != sender}
        return f.Send(client, self.id, profile, self.version, devices=devices)


class Position:
    """One device in one conversation. `told` begins anew with each connection, `seen` does not."""

    __slots__ = ("conversation", "seen", "told", "unconfirmed")

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.told = self.seen = 0
        self.unconfirmed = 0  # of how many messages the relay is to be told; one more where it has to be told again

    def join(self, joined: f.Joined) -> None:
        """The server tells what follows from there on."""
        self.told = joined.from_seq - 1
        self.seen = max(self.seen, self.told)
        self.conversation.version = max(self.conversation.version, joined.roster_version)

    def take(self, seq: int) -> bool:
        """Move to a number. False: this device had it already, and is told again because its connection is new."""
        again = self.told < seq <= self.seen
        self.told, self.seen = max(self.told, seq), max(self.seen, seq)
        return not again

    def skip(self, first: int, last: int) -> int:
        """Move past numbers that cannot be had. How many of them are new."""
        new = max(0, last - max(first - 1, self.seen))
        self.told, self.seen = max(self.told, last), max(self.seen, last)
        return new


if TYPE_CHECKING:
    from loadtest.users.device import Device

CONFIRM_SECONDS: Final = 1.0  # that confirmations gather, as the protocol advises clients
_TICK_SECONDS: Final = 0.05  # how exact a second of gathering has to be; each tick wakes an idle process
_LOOP_READ: Final = 1
_GRAIN: Final = 1_000_000
# Prime to the grain: neighbours get places far apart, and any run of seats has about the shares of the whole.
_STRIDE: Final = 754_877
_MS_NS: Final = 1_000_000


class NoSeat(LookupError):
    """All seats of this worker are taken."""


class ReadyDevices:
    """Who may be asked to send: a random one is picked, one added or removed, in the same time however many."""

    def __init__(self, dice: Random) -> None:
        self._chance = dice.random
        self._devices: list[Device] = []

    def __len__(self) -> int:
        return len(self._devices)

    def pick(self) -> "Device | None":
        """Return any of them; None when there is none."""
        devices = self._devices
        return devices[int(self._chance() * len(devices))] if devices else None

    def add(self, device: "Device") -> None:
        """Let it be picked, unless it is there."""
        if device.place < 0:
            device.place = len(self._devices)
            self._devices.append(device)

    def remove(self, device: "Device") -> None:
        """Let it be picked no more, if it is there: the last one takes its place."""
        if device.place >= 0:
            last = self._devices.pop()
            if last is not device:
                self._devices[device.place], last.place = last, device.place
            device.place = -1


class Population:
    """Made once a run. Close it when everybody has gone."""

    def __init__(self, crowd: Crowd, plan: Plan, ledger: Ledger, clock: RunClock, *, worker: int, workers: int) -> None:
        """`worker` counts from 0. Raises CouldNotRun for a relay that cannot be looked up."""
        self.plan, self.ledger, self.clock, self.relay_key = plan, ledger, clock, crowd.relay_key
        self.target = find_target(crowd.relay_url)
        self.tls = ssl.create_default_context(cadata=crowd.authority or None) if self.target.tls else None
        self.dice = Random(worker)  # noqa: S311 - it spreads load, and is to do so the same way each time
        self.ready = ReadyDevices(self.dice)  # who may be asked to send
        self.present: set[Device] = set()  # who has a connection, or tries to get one
        self.connected = 0  # between Welcome and the end of their connection
        self.heartbeat_seconds = 0.0  # the relay's; 0 until it was told
        self._used = min(plan.seats, len(crowd.seats))
        seats = assign_seats(crowd.rooms, crowd.seats, self._used, worker=worker, workers=workers)
        self.seats: dict[int, Seat] = {seat: crowd.seats[seat] for seat in seats}
        self._free = seats[::-1]  # the last one is taken first, so that rooms are filled one after the other
        self.conversations = _open_conversations(crowd, plan, self._used, self.seats)  # by the number of its id
        self._sizes = [size for size, _ in plan.payloads.weighted]
        self._upto = list(accumulate(weight for _, weight in plan.payloads.weighted))
        self._confirming: deque[tuple[float, Device]] = deque()  # no heap: all wait equally long
        self.settling = False
        """Whether slow readers read on: nothing more is offered, and what waits for them is to be accounted for."""
        self.engine = Engine(_report_error)
        # One descriptor for all sockets: a watcher for each would wake a greenlet for each message.
        self._watcher = get_hub().loop.io(self.engine.file, _LOOP_READ)
        self._watcher.start(self.engine.poll)
        self._timer = get_hub().loop.timer(_TICK_SECONDS, _TICK_SECONDS)
        self._timer.start(self._tick)

    def take_seat(self) -> int:
        """Return a free seat. Raises NoSeat."""
        if not self._free:
            raise NoSeat("every seat of this worker is taken: the crowd is smaller than the plan")
        return self._free.pop()

    def give_back(self, seat: int) -> None:
        """Let the seat be taken again."""
        self._free.append(seat)

    def source_of(self, seat: int) -> str | None:
        """Return the address a seat comes from; None for whichever the kernel chooses."""
        return self.target.source_of(seat, self._used)

    def draw_size(self) -> int:
        """Return the bytes of the next ciphertext."""
        return self.dice.choices(self._sizes, cum_weights=self._upto)[0]

    def draw_client_id(self) -> ClientId:
        """Return one that no device has used before, in this run or another."""
        return ClientId(uuid7(time.time_ns() // _MS_NS, self.dice.randbytes(ENTROPY_BYTES)))

    def confirm_later(self, device: "Device") -> None:
        """Have a device confirm in a second what it holds then."""
        self._confirming.append((self.engine.now + CONFIRM_SECONDS, device))

    def close(self) -> None:
        """Cut who is still there."""
        for device in tuple(self.present):
            device.end(Ending("left"))
        self._timer.stop()
        self._timer.close()
        self._watcher.stop()
        self._watcher.close()
        self.engine.close()

    def _tick(self) -> None:
        self.engine.now = now = time.monotonic()
        while self._confirming and self._confirming[0][0] <= now:
            self._confirming.popleft()[1].confirm()


def _report_error(connection: Connection) -> None:
    """A bug of ours must not spin for ever on a socket that stays ready."""
    get_hub().handle_error(connection, *sys.exc_info())
    connection.close()
    connection.protocol.lost("generator-fault")


def _open_conversations(crowd: Crowd, plan: Plan, used: int, here: dict[int, Seat]) -> dict[int, Conversation]:
    """Return the conversations that this worker's seats are in."""
    rooms = {}
    for number in sorted({number for seat in here.values() for number in seat.rooms}):
        room = crowd.rooms[number]
        members = [seat for seat in room.members if seat < used]
        due = sum(behaviour_of(seat, plan.behaviours) is not Behaviour.DEAF for seat in members) - 1
        devices = [] if room.group else [(seat, crowd.seats[seat].device) for seat in room.members]
        present = [seat for seat in members if seat in here]
        rooms[room.conversation.int] = Conversation(number, room, devices, due=due, here=present)
    return rooms


def assign_seats(rooms: Sequence[Room], seats: Sequence[Seat], used: int, *, worker: int, workers: int) -> list[int]:
    """Return a worker's seats as they are to be taken: whole rooms in turn, each to whoever has least so far."""
    assigned: list[list[int]] = [[] for _ in range(workers)]
    # As Locust assigns users to workers: to the first ones one more where it does not come out even.
    shares = [used // workers + (number < used % workers) for number in range(workers)]
    taken = set[int]()
    for members in (*(room.members for room in rooms), range(used)):
        waiting = [seat for seat in members if seat < used and seat not in taken]
        taken.update(waiting)
        while waiting:
            least = max(range(workers), key=lambda number: shares[number] - len(assigned[number]))
            space = shares[least] - len(assigned[least])
            assigned[least] += waiting[:space]
            waiting = waiting[space:]
    assert len(taken) <= len(seats), "a room names a seat that is not there"
    return assigned[worker]


def place_of(seat: int) -> float:
    """Return a number below 1, by which those are chosen who behave otherwise: the same ones in every run."""
    return seat * _STRIDE % _GRAIN / _GRAIN


def behaviour_of(seat: int, behaviours: Sequence[tuple[Behaviour, float]]) -> Behaviour:
    """Return how the user in a seat behaves; the shares are those of the plan."""
    upto = accumulate(share for _, share in behaviours)
    found = (behaviour for (behaviour, _), until in zip(behaviours, upto, strict=True) if place_of(seat) < until)
    return next(found, behaviours[-1][0])
