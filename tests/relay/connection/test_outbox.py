"""The outbox alone: its bound, its order, what it drops and what it says of it."""

from collections.abc import Callable, Iterator

import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from trio.testing import wait_all_tasks_blocked

from relay.connection.outbox import Encoded, Outbox
from varde_contract.codec import decode_server_frames, encode_frame, pack
from varde_contract.frames import EPHEMERAL, Lagging, New, PresenceOf, TypingBy

CAPACITY = 1_000


class Count:
    """Counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        """One more."""
        self.count += 1


def never(_kind: type[Struct], _encoded: bytes) -> bool:
    """A connection that cannot send at the moment."""
    return False


def make_outbox(
    capacity: int = CAPACITY,
    *,
    overflow: Callable[[], None] | None = None,
    direct: Callable[[type[Struct], bytes], bool] | None = None,
    request_flush: Callable[[], None] | None = None,
) -> Outbox:
    """An outbox with nobody behind it, unless the test wants to hear of something."""
    drops: dict[type[Struct], int] = dict.fromkeys(EPHEMERAL, 0)
    return Outbox(
        capacity,
        overflow=overflow or Count(),
        direct=direct or never,
        request_flush=request_flush or Count(),
        drops=drops,
    )


steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["push", "offer", "typing", "presence"]), st.integers(1, 400)),
        st.just(("take", 0)),
    ),
    max_size=80,
)


@given(steps)
def test_a_bound_an_order_and_no_silence(said: list[tuple[str, int]]) -> None:
    """Never more than the capacity; what is taken out is what was taken in, in order; what is left out is counted."""
    overflows = Count()
    outbox = make_outbox(overflow=overflows)
    expected: list[bytes] = []
    taken: list[Encoded] = []
    ephemeral = refused = 0
    for number, (verb, size) in enumerate(said):
        encoded = number.to_bytes(2) * size
        if verb == "take":
            taken += outbox.take()
        elif verb == "offer":
            expected += [encoded] if outbox.offer(New, encoded) else []
        elif verb == "push":
            before = overflows.count
            outbox.push(New, encoded)
            refused += overflows.count - before
            expected += [encoded] if overflows.count == before else []
        else:
            ephemeral += 1
            outbox.push(TypingBy if verb == "typing" else PresenceOf, encoded)
        assert 0 <= outbox.size <= CAPACITY
    while batch := outbox.take():
        taken += batch
    assert [encoded for kind, encoded in taken if kind is New] == expected
    told = sum(kind in (TypingBy, PresenceOf) for kind, _ in taken)
    assert told + sum(lagging(taken)) == ephemeral
    assert outbox.size == 0
    assert refused == overflows.count


def lagging(taken: list[Encoded]) -> Iterator[int]:
    """How many each `lagging` speaks of."""
    for kind, encoded in taken:
        if kind is Lagging:
            (frame,) = decode_server_frames(pack([encoded]))
            assert isinstance(frame, Lagging)
            yield frame.dropped


@given(st.lists(st.integers(1, 30_000), min_size=1, max_size=40))
def test_a_batch_fits_one_noise_message(sizes: list[int]) -> None:
    """Whatever waits, what is taken at once can be packed, and nothing is held back that would fit."""
    outbox = make_outbox(10**7)
    for size in sizes:
        outbox.push(New, bytes(size))
    batches = []
    while batch := outbox.take():
        assert pack([encoded for _, encoded in batch])
        batches.append(batch)
    assert sum(map(len, batches)) == len(sizes)


def test_it_rings_for_what_comes() -> None:
    """Whoever sends is told once for all that waits, and of nothing that found no room."""
    rung = Count()
    outbox = make_outbox(request_flush=rung)
    outbox.push(New, b"one")
    assert outbox.offer(New, b"two")
    assert rung.count == 1
    outbox.take()
    outbox.push(New, b"three")
    assert rung.count == 2
    outbox.take()
    outbox.push(New, bytes(CAPACITY + 1))
    assert not outbox.offer(New, bytes(CAPACITY + 1))
    outbox.end()
    outbox.push(New, b"four")
    assert rung.count == 2


def test_a_live_frame_goes_straight_out_when_nothing_waits() -> None:
    """If the connection can send it; behind something that waits, it waits, whatever the connection can."""
    sent: list[bytes] = []
    able = [True]

    def direct(_kind: type[Struct], encoded: bytes) -> bool:
        sent.append(encoded)
        return able[0]

    rung = Count()
    outbox = make_outbox(direct=direct, request_flush=rung)
    outbox.push(New, b"1")
    assert (sent, outbox.size, rung.count) == ([b"1"], 0, 0)
    able[0] = False
    outbox.push(New, b"2")
    able[0] = True
    outbox.push(New, b"3")
    assert sent == [b"1", b"2"]
    assert [encoded for _, encoded in outbox.take()] == [b"2", b"3"]
    assert rung.count == 1


def test_what_is_put_leaves_with_what_comes_next() -> None:
    """When the bell is rung for it."""
    sent: list[bytes] = []
    rung = Count()

    def direct(_kind: type[Struct], encoded: bytes) -> bool:
        sent.append(encoded)
        return True

    outbox = make_outbox(direct=direct, request_flush=rung)
    outbox.put(New, b"1")
    assert rung.count == 0
    outbox.push(New, b"2")
    assert (sent, rung.count) == ([], 0)
    outbox.flush()
    assert rung.count == 1
    assert [encoded for _, encoded in outbox.take()] == [b"1", b"2"]
    outbox.flush()
    assert rung.count == 1


def test_the_backlog_waits_for_the_bell() -> None:
    """A page of it leaves in one message, not in as many as it has entries, and whatever the connection could send."""
    sent: list[bytes] = []

    def direct(_kind: type[Struct], encoded: bytes) -> bool:
        sent.append(encoded)
        return True

    rung = Count()
    outbox = make_outbox(direct=direct, request_flush=rung)
    assert all(outbox.offer(New, bytes((number,))) for number in range(3))
    assert (sent, rung.count) == ([], 0)
    outbox.flush()
    assert rung.count == 1
    assert len(outbox.take()) == 3


async def test_the_backlog_waits_for_room(nursery: trio.Nursery) -> None:
    """Until what was taken is on its way, and half of the capacity is free."""
    outbox = make_outbox()
    outbox.push(New, bytes(CAPACITY))
    assert not outbox.offer(New, b"1")
    free = trio.Event()

    async def wait() -> None:
        await outbox.wait_room()
        free.set()

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    outbox.take()
    await wait_all_tasks_blocked()
    assert not free.is_set()
    outbox.take()
    await free.wait()
    assert outbox.offer(New, b"1")


def test_an_ended_outbox_takes_nothing() -> None:
    """What waited is dropped, what comes is ignored, and nobody is cut for it."""
    overflows = Count()
    outbox = make_outbox(overflow=overflows)
    outbox.push(New, bytes(600))
    outbox.end()
    outbox.push(New, bytes(600))
    outbox.push_frame(Lagging(1))
    assert not outbox.offer(New, b"1")
    assert outbox.take() == []
    assert overflows.count == 0


def test_the_kind_travels_beside_the_bytes() -> None:
    """A frame is encoded once and keeps its kind, which the session's table asks for."""
    outbox = make_outbox()
    outbox.push_frame(Lagging(3))
    assert outbox.take() == [(Lagging, encode_frame(Lagging(3)))]
