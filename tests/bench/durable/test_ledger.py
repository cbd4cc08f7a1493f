"""The book of the benchmark: whatever a server does to messages is in it."""

from hypothesis import given
from hypothesis import strategies as st

from bench.durable.latency import summarise
from bench.durable.ledger import PAYLOAD_BYTES, Account, Ledger
from bench.durable.ramp import highest_sustained
from bench.durable.schedule import draw_schedule


def test_a_faithful_server_is_believed() -> None:
    """All acked, all there, all in order: faultless."""
    ledger = Ledger(2)
    payloads = [ledger.draw(0, 0) for _ in range(5)]
    assert {len(payload) for payload in payloads} == {PAYLOAD_BYTES}
    before = ledger.settled
    for payload in payloads:
        ledger.receive(1, payload)
    ledger.ack(0, 5)
    assert (before, ledger.settled) == (False, True)
    assert ledger.account().faultless


@given(st.data(), st.integers(1, 12))
def test_what_is_lost_repeated_or_reordered_is_booked(data: st.DataObject, count: int) -> None:
    """In any disorder, each message is new once, late if a later one came first, and a repetition after that."""
    ledger = Ledger(2)
    payloads = [ledger.draw(0, 0) for _ in range(count)]
    order = data.draw(st.lists(st.integers(0, count - 1), max_size=2 * count))
    for place in order:
        ledger.receive(1, payloads[place])
    seen = set(order)
    late = sum(place not in order[:at] and any(other > place for other in order[:at]) for at, place in enumerate(order))
    account = ledger.account()
    assert account == Account(
        sent=count,
        acked=0,
        refused=0,
        received=len(seen),
        duplicated=len(order) - len(seen),
        disordered=late,
        astray=0,
    )
    assert account.missing == count - len(seen)


@given(st.integers(0, 8), st.sets(st.integers(1, 8)))
def test_what_was_acked_and_never_came_is_lost(acked: int, came: set[int]) -> None:
    """Acks are of the first messages; of those, every one that did not come is lost."""
    ledger = Ledger(2)
    payloads = [ledger.draw(0, 0) for _ in range(8)]
    ledger.ack(0, acked)
    for seq in sorted(came):
        ledger.receive(1, payloads[seq - 1])
    assert ledger.lost_after_ack() == len(set(range(1, acked + 1)) - came)


def test_a_message_for_somebody_else_is_astray() -> None:
    """Neither a wrong receiver nor words that nobody sent count as received."""
    ledger = Ledger(4)
    payload = ledger.draw(0, 0)
    for receiver, words in (
        (2, payload),
        (1, payload[:-1]),
        (1, b"nonsense"),
        (1, payload.replace(b"00000001", b"00000002")),
    ):
        ledger.receive(receiver, words)
    account = ledger.account()
    assert (account.received, account.astray) == (0, 4)
    assert not account.faultless


def test_more_acks_than_messages_hide_nothing() -> None:
    """A sender that was acked too often does not make up for one that was not."""
    ledger = Ledger(2)
    ledger.draw(0, 0)
    ledger.draw(1, 0)
    ledger.ack(0, 2)
    assert ledger.account().unacked == 1


def test_only_the_window_is_timed() -> None:
    """Messages that should have been sent before or after it are accounted for, and their latency is nobody's."""
    ledger = Ledger(2)
    ledger.open_window(1_000, 2_000)
    for intended in (999, 1_000, 1_999, 2_000):
        ledger.receive(1, ledger.draw(0, intended))
    assert (ledger.account().received, len(ledger.latencies_ns), ledger.due_within) == (4, 2, 2)


def test_an_account_can_be_taken_off_a_later_one() -> None:
    """Each rate has an account of its own, though the connections are the same."""
    ledger = Ledger(2)
    ledger.receive(1, ledger.draw(0, 0))
    before = ledger.account()
    ledger.draw(0, 0)
    later = ledger.account().since(before)
    assert (later.sent, later.received, later.missing) == (1, 0, 1)


def test_percentiles_are_of_what_was_recorded() -> None:
    """A hundred latencies of 1 to 100 ms have the percentiles that one would count by hand, to three digits."""
    figures = summarise(range(1_000_000, 101_000_000, 1_000_000))
    assert (figures["count"], round(figures["p50_ms"]), round(figures["p99_ms"]), round(figures["max_ms"])) == (
        *(100, 50, 99),
        100,
    )
    assert summarise(())["p99_ms"] is None


def test_the_schedule_is_an_open_model() -> None:
    """It is the same for every server, ends in time, is as dense as asked, and has everybody in turn."""
    due = list(draw_schedule(1_000, 5.0, 10))
    assert due == list(draw_schedule(1_000, 5.0, 10))
    times = [each.at_ns for each in due]
    assert times == sorted(times)
    assert times[-1] < 5_000_000_000
    assert 4_700 < len(due) < 5_300
    assert all({each.sender for each in due[at : at + 10]} == set(range(10)) for at in range(0, 4_000, 10))


def test_the_highest_sustained_rate_is_what_arrived() -> None:
    """A rate that was too much does not count, and without any there is no figure."""
    found = {1_000: {"sustained": True, "achieved": 998.0}, 2_000: {"sustained": False, "achieved": 1_990.0}}
    assert highest_sustained(found) == 998.0
    assert highest_sustained({2_000: found[2_000]}) is None
