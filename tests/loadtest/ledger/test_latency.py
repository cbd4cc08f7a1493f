"""What a ledger says of time: honest about waiting, and by the stage in which a message was due. No clock runs here."""

from loadtest.ledger.ledger import Ledger, PayloadCipher
from loadtest.ledger.reports import Totals, read, reconcile
from loadtest.ledger.run_time import Schedule
from tests.loadtest.ledger.manual_clock import ManualClock
from tests.loadtest.ledger.two_ledgers import KEY, RECEIVER, ROOM, SENDER, TwoLedgers

SECOND = 1_000_000_000
MS = 1_000_000


def test_a_server_that_stalls_is_seen_in_the_corrected_figures() -> None:
    """Of a server that stands still for one second in ten, raw figures show one slow answer; corrected ones, everybody
    who should have been served meanwhile.
    """
    pair, schedule = TwoLedgers(), Schedule(0, even=True)
    schedule.change(0, 100.0)
    schedule.change(10 * SECOND, 0.0)
    while (intended_ns := schedule.next_ns()) is not None:
        schedule.take()
        # A sender that waits for its answer, as one connection that is blocked does.
        pair.clock.shows_ns = max(pair.clock.shows_ns, intended_ns)
        draft = pair.there.draw(SENDER, ROOM, intended_ns, 64, 1)
        stalls = draft.seq == 500
        pair.clock.shows_ns += SECOND if stalls else MS
        pair.there.ack(SENDER, ROOM, draft.seq)
        pair.deliver(draft)
    figures = pair.reconcile().sum_of([0]).latencies()
    for raw, corrected in (
        (figures.raw_send_to_ack, figures.send_to_ack),
        (figures.raw_send_to_receive, figures.send_to_receive),
    ):
        assert raw.count == corrected.count == 1_000
        assert raw.p99 is not None
        assert raw.p99 <= 1.001
        assert corrected.p95 is not None
        assert corrected.p95 > 500
        assert raw.max == corrected.max


def test_a_stalled_request_is_seen_in_the_corrected_figures() -> None:
    """The same holds for requests: raw counts from when it was sent, corrected from when it should have been."""
    clock = ManualClock(2 * SECOND)
    ledger = Ledger(clock, PayloadCipher(KEY))
    ledger.request("ticket", intended_ns=SECOND, sent_ns=2 * SECOND - 5 * MS, failure=None)
    ledger.request("ticket", intended_ns=SECOND, sent_ns=2 * SECOND - 5 * MS, failure="503")
    settled = reconcile([ledger.report()], [])
    (endpoint,) = settled.endpoints_of([0])
    figures = settled.sum_of([0]).latencies()
    assert (endpoint.name, endpoint.requests, endpoint.failures) == ("ticket", 2, {"503": 1})
    assert endpoint.latency_ms == figures.request
    assert figures.request.p50 is not None
    assert figures.request.p50 >= 1_000
    assert figures.raw_request.p50 is not None
    assert 5 <= figures.raw_request.p50 <= 5.01


def test_a_latency_belongs_to_the_stage_in_which_its_message_was_due() -> None:
    """A message of a bad stage that comes in the next one spoils the bad one, and is counted there."""
    pair = TwoLedgers()
    for ledger in (pair.there, pair.here):
        ledger.open_stage(1, 10 * SECOND)
    pair.clock.shows_ns = 9 * SECOND
    (late,) = pair.write()
    pair.clock.shows_ns = 14 * SECOND
    pair.deliver(late)
    (swift,) = pair.write()
    pair.deliver(swift)
    account = pair.reconcile()
    stages = account.stages
    assert [stages[index].received for index in (0, 1)] == [1, 1]
    assert [stages[index].received_within for index in (0, 1)] == [0, 2]
    assert (account.sum_of([0]).latencies().send_to_receive.max or 0) >= 5_000
    assert (account.sum_of([1]).latencies().send_to_receive.max or 0) < 1


def test_a_stage_may_be_announced_early_and_twice() -> None:
    """Workers are told of a stage before it begins; only its beginning counts, and the last word on it."""
    pair = TwoLedgers()
    pair.there.open_stage(2, 20 * SECOND)
    pair.there.open_stage(1, 11 * SECOND)
    pair.there.open_stage(1, 10 * SECOND)
    for seconds in (5, 10, 19, 20):
        pair.clock.shows_ns = seconds * SECOND
        pair.write()
    assert {index: stage.sent for index, stage in pair.reconcile().stages.items()} == {0: 1, 1: 2, 2: 1}


def test_stages_and_workers_merge_exactly() -> None:
    """Percentiles over two stages and two workers are those of all messages together, not a mean of percentiles."""
    pair = TwoLedgers()
    for ledger in (pair.there, pair.here):
        ledger.open_stage(1, SECOND)
    for intended_ns, took_ns in ((0, 3 * MS), (SECOND, 900 * MS), (2 * SECOND, 3 * MS), (3 * SECOND, 3 * MS)):
        pair.clock.shows_ns = intended_ns
        (draft,) = pair.write()
        pair.clock.shows_ns = intended_ns + took_ns
        pair.deliver(draft)
        mine = pair.here.draw(RECEIVER, ROOM, intended_ns, 64, 1)
        pair.here.ack(RECEIVER, ROOM, mine.seq)
    both = pair.reconcile().sum_of([0, 1]).latencies()
    assert (both.send_to_receive.count, both.send_to_ack.count) == (4, 8)
    assert both.send_to_receive.p50 is not None
    assert both.send_to_receive.p50 <= 3.001
    assert (both.send_to_receive.max or 0) >= 900


def test_a_backlog_is_timed_from_coming_back() -> None:
    """What was due to somebody who had gone is timed from when it came back; of one that was cut off, from its due."""
    pair = TwoLedgers()
    pair.here.leave(RECEIVER)
    (waiting,) = pair.write()
    pair.clock.shows_ns = 60 * SECOND
    pair.here.attend(RECEIVER)
    pair.clock.shows_ns += 20 * MS
    pair.deliver(waiting)
    (cut_off,) = pair.write()
    pair.clock.shows_ns += 2 * SECOND
    pair.here.closed("4000")
    pair.here.connected(5 * MS, again=True)
    pair.here.attend(RECEIVER)
    pair.deliver(cut_off)
    figures = pair.reconcile().sum_of([0]).latencies()
    assert figures.backlog.count == figures.send_to_receive.count == 1
    assert (figures.backlog.max or 0) < 21
    assert (figures.send_to_receive.max or 0) >= 2_000


def test_a_tick_holds_the_last_second_of_all_workers() -> None:
    """A tick has what happened since the one before; all of them say how many are connected and unanswered now."""
    pair = TwoLedgers()
    pair.here.connected(MS, again=False)
    pair.there.connected(MS, again=True)
    first, second = pair.write(2)
    unanswered = pair.there.draw(SENDER, ROOM, 0, 64, 1)
    pair.clock.shows_ns = 7 * MS
    pair.deliver(first)
    before = tick_of(pair)
    sums = before.sum_of()
    assert (sums.sent, sums.due, sums.acked_within, sums.received, before.pending) == (3, 3, 2, 1, 1)
    assert (before.connected, before.reconnects) == (2, 1)
    assert (sums.connect.count, sums.send_to_receive.count, sums.send_to_ack.count) == (2, 1, 2)
    settled = [not pair.there.pending]
    pair.there.ack(SENDER, ROOM, unanswered.seq)
    assert [*settled, not pair.there.pending] == [False, True]
    pair.deliver(second)
    pair.here.closed("reset")
    after = tick_of(pair)
    sums = after.sum_of()
    assert (sums.sent, sums.acked_within, sums.received, after.pending, after.connected) == (0, 1, 1, -1, -1)
    before.merge(after)
    sums = before.sum_of()
    assert (sums.sent, sums.received, sums.send_to_receive.count) == (3, 2, 2)
    assert (before.pending, before.connected) == (0, 1)


def tick_of(pair: TwoLedgers) -> Totals:
    """What both workers tell of a second, as one."""
    whole = Totals()
    for ledger in (pair.there, pair.here):
        whole.merge(read(ledger.tick(), Totals))
    return whole


def test_ticks_take_nothing_from_the_report() -> None:
    """Whether somebody watched or not, the account is the same."""
    watched, alone = TwoLedgers(), TwoLedgers()
    for pair in (watched, alone):
        for draft in pair.write(3):
            pair.deliver(draft)
            if pair is watched:
                tick_of(pair)
        pair.here.connect_failed("refused")
    assert watched.reconcile() == alone.reconcile()
    assert alone.reconcile().connect_faults == {"refused": 1}
    assert alone.reconcile().messages.received == 3
