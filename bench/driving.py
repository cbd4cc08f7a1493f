"""Offering messages at a steady rate, and one measured window of that."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from msgspec import Struct

from bench.hosting import Server
from bench.lines import Exchange, Line

PASS: Final = 0.0005
"""Seconds between two looks at the sockets. Seldom enough that servers are not charged for waking the generator."""
SHORTEST_PASS: Final = 0.0001
TOGETHER: Final = 2
"""Messages that one pass offers, as long as it is not shorter than that: people do not write in step."""
CATCH_UP: Final = 0.02
"""Seconds' worth of messages that are offered late; beyond, the generator was not able to."""
BUSY: Final = 0.9
"""Of a core: above, the generator may have been what limited the rate."""


class Window(Struct, frozen=True):
    """What happened while it was open. CPU in seconds; `held_back` are messages that the socket had no
    room for, `refused` those that the server answered with a refusal.
    """

    seconds: float
    server_cpu: float
    generator_cpu: float
    sent: int
    held_back: int
    deliveries: int
    acks: int
    refused: int

    @property
    def generator_load(self) -> float:
        """How much of a core the generator used."""
        return self.generator_cpu / self.seconds

    @property
    def generator_bound(self) -> bool:
        """Whether the generator may have been the bottleneck."""
        return self.generator_load > BUSY

    @property
    def us_per_delivery(self) -> float:
        """Server CPU for one delivery, its share of everything else included."""
        return self.server_cpu / self.deliveries * 1e6


class _Count(Struct):
    sent: int = 0
    held_back: int = 0


def drive(exchange: Exchange, turn: Iterator[Line], rate: float, seconds: float, count: _Count) -> None:
    """Offer `rate` messages a second, from the lines in turn, for so many seconds, and receive everything meanwhile."""
    start = time.perf_counter()
    offered, waiting, pause = 0, list[Line](), min(PASS, max(SHORTEST_PASS, TOGETHER / rate))
    while (now := time.perf_counter()) < start + seconds:
        due = int((now - start) * rate)
        late = due - offered - int(rate * CATCH_UP) - 1
        if late > 0:
            count.held_back += late
            offered += late
        while offered < due:
            offered += 1
            line = next(turn)
            if line.unsent:
                count.held_back += 1
                continue
            count.sent += 1
            if not line.push(line.client.message()):
                waiting.append(line)
        exchange.pull()
        waiting = exchange.flush(waiting)
        time.sleep(pause)


def measure_window(
    server: Server,
    exchange: Exchange,
    lines: Sequence[Line],
    *,
    rate: float,
    warm_up: float,
    seconds: float,
    turn: Callable[[Sequence[Line]], Iterator[Line]],
) -> Window:
    """Warm up, then measure. `turn` says in which order the lines send."""
    count, order = _Count(), turn(lines)
    drive(exchange, order, rate, warm_up, count)
    before, used, own, start = _heard(lines), server.cpu_seconds(), time.process_time(), time.perf_counter()
    sent, held_back = count.sent, count.held_back
    drive(exchange, order, rate, seconds, count)
    own, end = time.process_time() - own, time.perf_counter()
    used, after = server.cpu_seconds() - used, _heard(lines)
    return Window(
        seconds=end - start,
        server_cpu=used,
        generator_cpu=own,
        sent=count.sent - sent,
        held_back=count.held_back - held_back,
        deliveries=after.deliveries - before.deliveries,
        acks=after.acks - before.acks,
        refused=after.refused - before.refused,
    )


def settle(exchange: Exchange, lines: Sequence[Line], seconds: float = 2.0) -> None:
    """Receive what is still on its way, until nothing came for a moment, or for so many seconds."""
    end = time.perf_counter() + seconds
    heard, since = _heard(lines), time.perf_counter()
    waiting = [line for line in lines if line.unsent]
    while (now := time.perf_counter()) < end and (waiting or now < since + _QUIET):
        exchange.pull(PASS)
        waiting = exchange.flush(waiting)
        if (again := _heard(lines)) != heard:
            heard, since = again, now


_QUIET: Final = 0.1


class _Heard(NamedTuple):
    deliveries: int
    acks: int
    refused: int


def _heard(lines: Sequence[Line]) -> _Heard:
    clients = [line.client for line in lines]
    return _Heard(*(sum(getattr(client, name) for client in clients) for name in _Heard._fields))
