"""Seats, rooms and addresses are assigned alike in every worker, and evenly."""

from collections import Counter
from random import Random
from typing import Any

import pytest
from gevent import socket
from hypothesis import given
from hypothesis import strategies as st

from loadtest.client.protocol import Ending
from loadtest.crowd.crowd import Room, Seat
from loadtest.exits import CouldNotRun
from loadtest.scenarios.plan import Behaviour
from loadtest.users.population import Conversation, Position, ReadyDevices, assign_seats, behaviour_of
from loadtest.users.relay_user import comes_back, pause_after
from loadtest.users.target import Target, find_target
from varde_contract import frames as f
from varde_contract.codec import encode_frame, pack
from varde_contract.ids import AccountId, ClientId, ConversationId, DeviceId, ProfileId, uuid7

CONVERSATION = ConversationId(uuid7(1, bytes(10)))
SHARES = ((Behaviour.STEADY, 0.7), (Behaviour.SLOW, 0.2), (Behaviour.DEAF, 0.1))


def rooms_of(sizes: list[int]) -> tuple[list[Room], list[Seat]]:
    """Rooms side by side, and as many seats."""
    rooms, start = [], 0
    for size in sizes:
        rooms.append(Room(CONVERSATION, tuple(range(start, start + size)), 1, group=True))
        start += size
    return rooms, [seat_in(()) for _ in range(start)]


def seat_in(rooms: tuple[int, ...]) -> Seat:
    """Somebody in these rooms."""
    nobody = uuid7(1, bytes(10))
    return Seat(AccountId(nobody), ProfileId(nobody), DeviceId(nobody), b"", "", "", rooms)


@given(st.lists(st.integers(2, 64), min_size=1, max_size=40), st.integers(1, 4), st.integers(0, 5))
def test_every_seat_is_assigned_once_and_shares_are_even(sizes: list[int], workers: int, unused: int) -> None:
    """All seats that are used go to one worker each, and no worker has more than its share."""
    rooms, seats = rooms_of(sizes)
    used = max(1, len(seats) - unused)
    assigned = [assign_seats(rooms, seats, used, worker=worker, workers=workers) for worker in range(workers)]
    assert sorted(seat for each in assigned for seat in each) == list(range(used))
    assert max(map(len, assigned)) <= -(-used // workers)


def test_rooms_stay_whole() -> None:
    """Pairs are assigned in turn; only a room that is larger than a share is split."""
    rooms, seats = rooms_of([2] * 6)
    assert assign_seats(rooms, seats, 12, worker=1, workers=2) == [2, 3, 6, 7, 10, 11]
    rooms, seats = rooms_of([10])
    assert [len(assign_seats(rooms, seats, 10, worker=worker, workers=2)) for worker in range(2)] == [5, 5]


def test_behaviours_have_their_shares_everywhere() -> None:
    """Each behaviour has its share of any run of seats, and of even and odd ones."""
    for seats in (range(1_000), range(5_000, 6_000), range(0, 2_000, 2), range(1, 2_001, 2)):
        found = Counter(behaviour_of(seat, SHARES) for seat in seats)
        assert {each: round(count, -2) for each, count in found.items()} == {
            Behaviour.STEADY: 700,
            Behaviour.SLOW: 200,
            Behaviour.DEAF: 100,
        }


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60))
def test_the_ready_are_a_set_one_can_draw_from(steps: list[tuple[bool, int]]) -> None:
    """After any additions and removals, those who can be drawn are exactly those who are in."""

    class Member:
        place = -1

    members, inside = [Member() for _ in range(10)], set[Member]()
    crowd: Any = ReadyDevices(Random(1))  # noqa: S311 - nothing secret is drawn
    for adds, number in steps:
        (crowd.add if adds else crowd.remove)(members[number])
        (inside.add if adds else inside.discard)(members[number])
    assert len(crowd) == len(inside)
    assert {crowd.pick() for _ in range(200)} - {None} <= inside
    assert (crowd.pick() is None) == (not inside)


def test_a_room_is_complete_when_all_who_are_here_have_come() -> None:
    """Those who came before the last one are told when it comes; a room larger than any group does not wait."""
    told: list[int] = []
    room = Conversation(0, Room(CONVERSATION, (0, 1, 2), 1, group=True), [], due=2, here=[0, 1])
    room.enter(0, lambda: told.append(0))
    assert not room.complete
    room.enter(1, lambda: told.append(1))
    assert sorted(told) == [0, 1]
    assert Conversation(0, Room(CONVERSATION, tuple(range(65)), 1, group=True), [], due=64, here=range(65)).complete


def test_the_largest_message_of_a_pair_fits() -> None:
    """However many devices there are, the ciphertexts for all of them fit one message of Noise."""
    for count in (2, 3, 17, 64):
        devices = [(seat, DeviceId(uuid7(seat + 1, bytes(10)))) for seat in range(count)]
        room = Conversation(0, Room(CONVERSATION, tuple(range(count)), 1, group=False), devices, due=1, here=[0])
        client, profile = ClientId(uuid7(1, bytes(10))), ProfileId(uuid7(1, bytes(10)))
        frame = room.frame(client, profile, 0, bytes(room.most))
        assert frame.devices is not None
        assert len(frame.devices) == count - 1
        assert pack([encode_frame(frame)])


def test_a_cursor_knows_what_it_had() -> None:
    """Told again on a new connection is not new; on the same one it is, for the ledger to judge."""
    position = Position(Conversation(0, Room(CONVERSATION, (0, 1), 1, group=True), [], due=1, here=[]))
    position.join(f.Joined(CONVERSATION, 1, 3, 7, 0))
    assert [position.take(1), position.take(2), position.take(2)] == [True, True, True]
    assert position.skip(2, 5) == 3
    position.join(f.Joined(CONVERSATION, 2, 5, 6, 0))
    assert [position.take(2), position.skip(3, 5), position.take(6)] == [False, 0, True]
    assert position.conversation.version == 7


def test_neighbours_come_from_different_addresses() -> None:
    """On the loopback ten seats share an address, and those who come one after the other do not."""
    target = find_target("ws://127.0.0.1:8401/v1/relay")
    sources = [target.source_of(seat, 10_000) for seat in range(10_000)]
    assert set(Counter(sources).values()) == {10}
    assert len(set(sources[:1_000])) == 1_000
    assert all(str(source).startswith("127.1.") for source in sources)


def test_from_elsewhere_the_kernel_chooses_the_address() -> None:
    """Only on the loopback may a program come from whichever address it likes."""
    assert (
        Target(socket.AF_INET, ("192.0.2.1", 443), "relay.test", "relay.test", "/", tls=True).source_of(1, 10) is None
    )
    assert find_target("wss://[::1]/v1/relay").source_of(1, 10) is None


@pytest.mark.parametrize("url", ["", "http://127.0.0.1/", "ws://", "ws://127.0.0.1:x/", "ws://127.0.0.1:99999/"])
def test_a_url_that_is_none_is_refused_in_words(url: str) -> None:
    """What cannot be the relay's URL is said to be wrong, without showing it."""
    with pytest.raises(CouldNotRun, match="URL"):
        find_target(url)


def test_who_is_to_stay_away_stays_away() -> None:
    """Codes from 4100 on are for good; all else comes back within a bound that doubles, or when told to."""
    assert not any(comes_back(Ending(str(code))) for code in range(4_100, 4_108))
    assert all(comes_back(Ending(code)) for code in ("1000", "4000", "4005", "reset", "503", "fault"))
    dice = Random(1)  # noqa: S311 - it spreads load
    for attempt, bound in ((0, 0.5), (1, 1.0), (5, 16.0), (6, 30.0), (10_000, 30.0)):
        pauses = [pause_after(Ending("reset"), attempt, dice) for _ in range(200)]
        assert bound * 0.9 < max(pauses) <= bound
        assert min(pauses) < bound * 0.1
    assert pause_after(Ending("503", 60), 0, dice) == 60
