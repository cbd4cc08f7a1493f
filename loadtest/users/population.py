"""The users of one worker process and what they share: seats, conversations, the epoll engine, timers."""

import ssl
import sys
import time
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING, Final

from gevent import get_hub

from loadtest.client.epoll import Connection, Engine
from loadtest.client.protocol import Ending
from loadtest.crowd.crowd import Crowd, Room, Seat
from loadtest.ledger.clock import RunClock
from loadtest.ledger.ledger import Ledger
from loadtest.scenarios.plan import Behaviour, Plan
from loadtest.users.conversation import Conversation
from loadtest.users.target import find_target
from varde_contract.ids import ENTROPY_BYTES, ClientId, uuid7

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
