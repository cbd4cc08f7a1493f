"""A whole fleet that was away: everybody comes back at once, and nobody tramples anybody."""

from collections import Counter, deque
from contextlib import ExitStack
from random import Random
from typing import cast

import trio
from trio.testing import wait_all_tasks_blocked

from relay.connection.admission import Admission
from relay.connection.peer import Peer
from relay.metrics.counters import Metrics
from settings.relay import RelaySettings
from tests.cast import alice, alice_laptop, alice_phone, bob, bob_phone
from tests.relay.memory_node import Backend, MemoryNode, open_room
from varde.backoff import Backoff
from varde_contract import frames as f

CLIENTS = 10_000
SLOW_CLIENTS = 2_000
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


async def test_a_slow_node_lets_in_what_it_serves(autojump_clock: object) -> None:
    """A herd on a node that serves few joins a second: nobody who was let in waits long, and nobody for ever."""
    settings = RelaySettings(proxies=1, connects_per_second=1e9)
    admission, served_per_tick = open_admission(settings), 5
    dice, begun = Random(2), trio.current_time()  # noqa: S311 - as above
    due, inside = dict.fromkeys(range(SLOW_CLIENTS), begun), deque[tuple[Peer, float]]()
    waits: list[float] = []
    while due or inside:
        await trio.sleep(TICK)  # in time that jumps
        now = trio.current_time()
        for peer, since in [inside.popleft() for _ in range(min(len(inside), served_per_tick))]:
            admission.newcomers.leave(peer)
            waits.append(now - since)
        for client in [client for client, at in due.items() if at <= now]:
            if (seconds := knock(admission, client)) is None:
                del due[client]
                peer = cast("Peer", object())
                admission.newcomers.enter(peer)
                admission.newcomers.note_join(peer)
                inside.append((peer, now))
            else:
                due[client] = now + seconds + dice.uniform(0, seconds / 2)
    assert max(waits) <= settings.newcomers / served_per_tick * TICK + 2 * TICK
    assert trio.current_time() - begun <= 2 * SLOW_CLIENTS / served_per_tick * TICK


async def test_who_does_not_join_holds_up_nobody_for_long(autojump_clock: object) -> None:
    """The places of those who were let in and ask for nothing are free again after a moment."""
    settings = RelaySettings(newcomers=2)
    admission = open_admission(settings)
    one, other = (cast("Peer", object()) for _ in range(2))
    for peer in (one, other):
        admission.newcomers.enter(peer)
    admission.newcomers.note_join(one)
    assert knock(admission, 1) is not None
    await trio.sleep(settings.newcomer_patience + TICK)  # in time that jumps
    assert len(admission.newcomers) == 1  # `one` waits for us
    assert knock(admission, 1) is None
    admission.newcomers.note_join(other)  # too late to be waited for
    admission.newcomers.leave(one)
    assert len(admission.newcomers) == 0


async def test_a_newcomer_is_one_until_it_has_its_backlog(node: MemoryNode, backend: Backend) -> None:
    """A place is taken with Welcome, and given back when the join is done, is refused, or the peer has gone."""
    roster = await open_room(backend, alice, bob)
    newcomers = node.services.admission.newcomers
    phone, laptop, gone = [await node.connect_client(device) for device in (bob_phone, alice_laptop, alice_phone)]
    assert len(newcomers) == 3
    await phone.send(f.Join())
    assert isinstance((await phone.receive_pending())[0], f.Joined)
    assert len(newcomers) == 2
    await laptop.send(f.Join(roster.conversation, 99))
    assert isinstance((await laptop.receive_pending())[0], f.RefusedFrame)
    assert len(newcomers) == 1
    await gone.close()
    await wait_all_tasks_blocked()
    assert len(newcomers) == 0


async def test_a_crowd_at_one_moment_is_spread_by_the_advice(autojump_clock: object) -> None:
    """Ten thousand that come in the same instant are told times that the node can serve."""
    settings = RelaySettings(proxies=1, connects_per_second=1e9)
    admission = open_admission(settings)
    told = [seconds for client in range(CLIENTS) if (seconds := knock(admission, client)) is not None]
    assert CLIENTS - len(told) == settings.handshakes_per_second
    assert max(Counter(told).values()) <= 2 * settings.handshakes_per_second
    assert max(told) <= 2 * CLIENTS / settings.handshakes_per_second + 2
