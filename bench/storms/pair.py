"""Two people with one small message each hundredth of a second, timed from when it should have left."""

import time
from collections import deque
from typing import Final

from msgspec import Struct

from bench.clients import Client
from bench.lines import Exchange, Line
from loadtest.client.websocket import ServerFault

GAP_NS: Final = 10_000_000
SETTLING: Final = 10.0
_MEETING: Final = 0.25
_SPIN_NS: Final = 1_000_000
"""epoll waits in whole milliseconds: the last one before a message is due is spent looking."""
_SECOND_NS: Final = 1_000_000_000


class Talk(Struct, frozen=True):
    """What came of it. `missing` did not come within some seconds after the last one was sent."""

    latencies_ns: list[int]
    missing: int


def meet(exchange: Exchange, speaker: Line, hearer: Client) -> None:
    """Let one speak until the other hears it, and then nothing more. Raises ServerFault when nothing is ever heard.

    A room is joined a little before its listener is live. What is said in between is read from the log, and the node
    of this benchmark keeps none.
    """
    heard, patience = hearer.deliveries, time.monotonic() + SETTLING
    while hearer.deliveries == heard:
        if time.monotonic() > patience:
            raise ServerFault("nothing that one of the pair says reaches the other")
        speaker.push(speaker.client.message())
        _pull(exchange, _MEETING)
    _pull(exchange, _MEETING)


def _pull(exchange: Exchange, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (wait := end - time.monotonic()) > 0:
        exchange.pull(wait)


def talk(exchange: Exchange, speaker: Line, hearer: Client, seconds: float) -> Talk:
    """Let one speak to the other for so long."""
    latencies, under_way, heard = list[int](), deque[int](), hearer.deliveries
    due = time.monotonic_ns()
    end = due + int(seconds * _SECOND_NS)
    while due < end:
        now = time.monotonic_ns()
        if now >= due:
            speaker.push(speaker.client.message())
            under_way.append(due)
            due += GAP_NS
        wait = due - time.monotonic_ns() - _SPIN_NS
        heard = _hear(exchange, hearer, heard, under_way, latencies, max(0.0, wait / _SECOND_NS))
    patience = time.monotonic() + SETTLING
    while under_way and time.monotonic() < patience:
        heard = _hear(exchange, hearer, heard, under_way, latencies, 0.05)
    return Talk(latencies, len(under_way))


def _hear(
    exchange: Exchange, hearer: Client, heard: int, under_way: deque[int], latencies: list[int], wait: float
) -> int:
    exchange.pull(wait)
    if hearer.deliveries > heard:
        now = time.monotonic_ns()
        latencies += [now - under_way.popleft() for _ in range(hearer.deliveries - heard)]
    return hearer.deliveries
