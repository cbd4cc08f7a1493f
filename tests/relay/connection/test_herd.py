"""A whole fleet that was away: everybody comes back at once, and nobody tramples anybody."""

from collections import Counter
from contextlib import ExitStack
from random import Random

import trio

from relay.connection.admission import Admission
from relay.metrics.counters import Metrics
from settings.relay import RelaySettings
from varde.backoff import Backoff

CLIENTS = 10_000
OUTAGE = 120.0
"""Long enough for every backoff to have grown to its longest pause."""
TICK = 0.05
BACK = 60.0
"""Seconds after which everybody is back: docs/operations/drain.md says so."""


def knock(admission: Admission, client: int) -> int | None:
    """One client asks for a handshake, which ends at once. None, or the seconds after which it is told to come back."""
    with ExitStack() as stay:
        refused = admission.admit_handshake("192.0.2.1", f"2001:db8:{client:x}::1", stay)
    if refused is None:
        return None
    assert refused.retry_after_ms is not None
    return -(-refused.retry_after_ms // 1_000)  # as in the header


def open_admission(settings: RelaySettings) -> Admission:
    """What decides, without a node around it."""
    return Admission(settings, Random(1), Metrics())  # noqa: S311 - it spreads load


async def test_a_fleet_that_comes_back_is_no_herd(autojump_clock: object) -> None:
    """One node takes 10,000 clients that had lost it: never more than its pace, and everybody in time."""
    settings = RelaySettings(proxies=1, connects_per_second=1e9)
    admission = open_admission(settings)
    dice, begun = Random(2), trio.current_time()  # noqa: S311 - as above
    backoffs = [Backoff() for _ in range(CLIENTS)]
    due = dict.fromkeys(range(CLIENTS), begun)
    back_at: list[float] = []
    turned_away: Counter[int] = Counter()
    while due:
        await trio.sleep(TICK)  # in time that jumps
        now = trio.current_time()
        for client in [client for client, at in due.items() if at <= now]:
            if now < begun + OUTAGE:
                due[client] = now + backoffs[client].next()
            elif (seconds := knock(admission, client)) is None:
                del due[client]
                back_at.append(now - begun - OUTAGE)
            else:
                turned_away[client] += 1
                due[client] = now + seconds + dice.uniform(0, seconds / 2)
    by_second = Counter(map(int, back_at))
    assert by_second.pop(0) <= 2 * settings.handshakes_per_second
    assert max(by_second.values()) <= settings.handshakes_per_second * (1 + 2 * TICK)
    assert max(back_at) <= BACK
    assert max(turned_away.values(), default=0) <= 5


async def test_a_crowd_at_one_moment_is_spread_by_the_advice(autojump_clock: object) -> None:
    """Ten thousand that come in the same instant are told times that the node can serve."""
    settings = RelaySettings(proxies=1, connects_per_second=1e9)
    admission = open_admission(settings)
    told = [seconds for client in range(CLIENTS) if (seconds := knock(admission, client)) is not None]
    assert CLIENTS - len(told) == settings.handshakes_per_second
    assert max(Counter(told).values()) <= 2 * settings.handshakes_per_second
    assert max(told) <= 2 * CLIENTS / settings.handshakes_per_second + 2
