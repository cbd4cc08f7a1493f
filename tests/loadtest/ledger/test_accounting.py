"""Every message accounted for, across workers."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.crowd.crowd import Room
from loadtest.ledger.ledger import Ledger, PayloadCipher
from loadtest.ledger.reports import LedgerError, Totals, read, reconcile
from loadtest.report.result import Messages
from tests.loadtest.ledger.manual_clock import ManualClock
from tests.loadtest.ledger.two_ledgers import KEY, RECEIVER, ROOM, RUN, SENDER, TwoLedgers, a_room


def test_a_faultless_server_has_no_fault() -> None:
    """What came once and in order is received, and nothing else is counted."""
    pair = TwoLedgers()
    for draft in pair.write(5):
        pair.deliver(draft)
    assert pair.reconcile().messages == Messages(sent=5, acked=5, due=5, received=5)


def test_a_server_that_drops_is_caught() -> None:
    """An acked message that never came is lost, in the middle and at the end alike."""
    pair = TwoLedgers()
    drafts = pair.write(5)
    for draft in (drafts[0], drafts[2], drafts[3]):
        pair.deliver(draft)
    assert pair.reconcile().messages == Messages(sent=5, acked=5, due=5, received=3, lost=2)


def test_a_server_that_repeats_is_caught() -> None:
    """A message that came again is counted each time, and once as received."""
    pair = TwoLedgers()
    for draft in pair.write(2):
        for _ in range(3):
            pair.deliver(draft)
    assert pair.reconcile().messages == Messages(sent=2, acked=2, due=2, received=2, duplicated=4)


def test_a_server_that_reorders_is_caught() -> None:
    """A message that came after a later one of its stream is in disorder, though not lost."""
    pair = TwoLedgers()
    for draft in reversed(pair.write(3)):
        pair.deliver(draft)
    settled = pair.reconcile()
    assert settled.messages == Messages(sent=3, acked=3, due=3, received=3, disordered=2)


def test_a_server_that_takes_without_acking_is_caught() -> None:
    """A message without an answer is unacked. When it did not come, it is due to nobody: nothing was promised."""
    pair = TwoLedgers()
    first, _ = (pair.there.draw(SENDER, ROOM, 0, 64, 1) for _ in range(2))
    pair.deliver(first)
    assert pair.reconcile().messages == Messages(sent=2, unacked=2, due=1, received=1)


def test_a_refused_message_is_due_to_nobody() -> None:
    """A refusal is counted as such and by its code; if the message comes nevertheless, it went astray."""
    pair = TwoLedgers()
    first, second = (pair.there.draw(SENDER, ROOM, 0, 64, 1) for _ in range(2))
    pair.there.refuse(SENDER, ROOM, first.seq, "rate-limited")
    pair.there.refuse(SENDER, ROOM, second.seq, "overloaded")
    pair.deliver(second)
    settled = pair.reconcile()
    assert settled.messages == Messages(sent=2, refused=2, astray=1)
    assert settled.refusals == {"rate-limited": 1, "overloaded": 1}


def test_a_changed_message_is_caught() -> None:
    """Ciphertext that was touched is undecryptable, and the message that it was is lost."""
    pair = TwoLedgers()
    (draft,) = pair.write()
    pair.here.receive(RECEIVER, ROOM, draft.payload[:-1] + bytes((draft.payload[-1] ^ 1,)))
    pair.here.receive(RECEIVER, ROOM, b"")
    assert pair.reconcile().messages == Messages(sent=1, acked=1, due=1, lost=1, undecryptable=2)


def test_a_message_in_the_wrong_place_is_caught() -> None:
    """What comes in another room, back to its sender, or to a stranger is astray, and does not stand for a delivery."""
    pair = TwoLedgers()
    drafts = pair.write(3)
    pair.here.receive(RECEIVER, ROOM + 1, drafts[0].payload)
    pair.here.receive(SENDER, ROOM, drafts[1].payload)
    pair.here.receive(RECEIVER + 1, ROOM, drafts[0].payload)
    assert pair.reconcile().messages == Messages(sent=3, acked=3, due=3, lost=3, astray=3)


def test_another_runs_messages_are_set_aside() -> None:
    """What an earlier run with the same crowd left behind belongs to no account of this one."""
    pair, earlier = TwoLedgers(), Ledger(ManualClock(), PayloadCipher(KEY, RUN - 1))
    pair.deliver(earlier.draw(SENDER, ROOM, 0, 64, 1))
    settled = pair.reconcile()
    assert settled.messages == Messages()
    assert settled.earlier == 1


@pytest.mark.parametrize(
    ("why", "lost"), [("expired", 1), ("before-you", 1), ("delivered", 3), ("own", 3), ("a-new-word", 3)]
)
def test_a_gap_accounts_for_what_it_names(why: str, lost: int) -> None:
    """A gap record excuses as many deliveries as it has numbers, and only one that says that they cannot be had."""
    pair = TwoLedgers()
    pair.write(3)
    pair.here.gap(RECEIVER, ROOM, 2, why)
    messages = pair.reconcile().messages
    assert (messages.lost, messages.after_gap) == (lost, 3 - lost)


def test_a_gap_in_one_room_excuses_nothing_in_another() -> None:
    """Gaps hold for the receiver and the room that they were told of."""
    pair = TwoLedgers()
    pair.write(1)
    pair.here.gap(RECEIVER, ROOM + 1, 5, "expired")
    pair.here.gap(RECEIVER + 1, ROOM, 5, "expired")
    assert pair.reconcile().messages.lost == 1


def test_who_left_loses_nothing_behind_the_last_that_came() -> None:
    """What waits for somebody who went is unfetched; a hole before the last that came is a loss all the same."""
    pair = TwoLedgers()
    drafts = pair.write(5)
    pair.deliver(drafts[0])
    pair.deliver(drafts[2])
    pair.here.leave(RECEIVER)
    assert pair.reconcile().messages == Messages(sent=5, acked=5, due=5, received=2, lost=1, unfetched=2)


def test_who_was_cut_off_did_not_leave() -> None:
    """A server that closes a connection and lets nobody back has lost what was due: only leaving is an excuse."""
    pair = TwoLedgers()
    pair.write(2)
    pair.here.connected(1, again=False)
    pair.here.closed("4001")
    pair.here.connect_failed("refused")
    settled = pair.reconcile()
    assert settled.messages.lost == 2
    assert (settled.close_codes, settled.connect_faults) == ({"4001": 1}, {"refused": 1})


def test_resends_are_counted_and_make_no_second_message() -> None:
    """A message that was said again is one message, and its second ack counts for nothing."""
    pair = TwoLedgers()
    draft = pair.there.draw(SENDER, ROOM, 0, 64, 1)
    pair.there.resend(SENDER, ROOM, draft.seq)
    for _ in range(2):
        pair.there.ack(SENDER, ROOM, draft.seq)
    pair.there.refuse(SENDER, ROOM, draft.seq, "overloaded")
    pair.deliver(draft)
    assert pair.reconcile().messages == Messages(sent=1, acked=1, due=1, received=1, resent=1)


def test_a_group_is_accounted_for_member_by_member() -> None:
    """One message to a room of four is three deliveries, on whichever workers the members are."""
    clock = ManualClock()
    ledgers = [Ledger(clock, PayloadCipher(KEY, RUN)) for _ in range(4)]
    draft = ledgers[0].draw(0, 0, 0, 64, 3)
    ledgers[0].ack(0, 0, draft.seq)
    for seat in (1, 3):
        ledgers[seat].receive(seat, 0, draft.payload)
    settled = reconcile([ledger.report() for ledger in ledgers], [a_room(0, 1, 2, 3)])
    assert settled.messages == Messages(sent=1, acked=1, due=3, received=2, lost=1)


def test_what_is_no_report_is_refused() -> None:
    """Bytes that are no report, and a report of another crowd, are told in words."""
    pair = TwoLedgers()
    pair.write()
    with pytest.raises(LedgerError, match="Report cannot be read"):
        reconcile([b"nothing"], [])
    with pytest.raises(LedgerError, match="Totals cannot be read"):
        read(pair.there.report(), Totals)
    with pytest.raises(LedgerError, match="not in the crowd"):
        reconcile([pair.there.report()], [])


class Carrier:
    """Streams of several senders to one room, of which deliveries come in any order, any number of times."""

    def __init__(self, senders: int, count: int) -> None:
        self.clock = ManualClock()
        self.ledgers = [Ledger(self.clock, PayloadCipher(KEY, RUN)) for _ in range(3)]
        self.room: Room = a_room(*range(senders + 2))
        self.receivers = senders, senders + 1
        self.drafts = {
            (sender, seq): self.ledgers[0].draw(sender, ROOM, 0, 64, senders + 1)
            for sender in range(senders)
            for seq in range(1, count + 1)
        }

    def ledger_of(self, receiver: int) -> Ledger:
        """The two receivers sit on two other workers than the senders."""
        return self.ledgers[1 + receiver % 2]


deliveries = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(1, 6)), max_size=60)
refusals = st.sets(st.tuples(st.integers(0, 2), st.integers(1, 6)), max_size=5)


@given(deliveries, refusals, refusals)
def test_any_interleaving_is_counted_exactly(
    came: list[tuple[int, int, int]], refused: set[tuple[int, int]], unanswered: set[tuple[int, int]]
) -> None:
    """Whatever is dropped, repeated, reordered, refused and never acked, over streams, receivers and workers, the
    account is that of a plain count of what was delivered.
    """
    carrier = Carrier(senders=3, count=6)
    for sender, seq in sorted(refused):
        carrier.ledgers[0].refuse(sender, ROOM, seq, "overloaded")
    acked = carrier.drafts.keys() - refused - unanswered
    for sender, seq in sorted(acked):
        carrier.ledgers[0].ack(sender, ROOM, seq)
    for which, sender, seq in came:
        receiver = carrier.receivers[which]
        carrier.ledger_of(receiver).receive(receiver, ROOM, carrier.drafts[sender, seq].payload)
    for receiver in carrier.receivers:
        carrier.ledger_of(receiver).attend(receiver)
    messages = reconcile([ledger.report() for ledger in carrier.ledgers], [carrier.room]).messages
    times = Counter(came)
    genuine = {each for each in times if each[1:] not in refused}
    assert messages.sent == 18
    assert messages.refused == len(refused)
    assert messages.acked == len(acked)
    assert messages.received == len(genuine)
    assert messages.astray == len(times) - len(genuine)
    assert messages.duplicated == len(came) - len(times)
    assert messages.disordered == disorders(came)
    # The senders never attended, so what they did not get from each other is unfetched; the receivers lost theirs.
    # What was never acked is due only to whom it came.
    assert messages.lost == 2 * len(acked) - sum(each[1:] in acked for each in genuine)
    assert messages.unfetched == 2 * len(acked)
    assert messages.due == messages.received + messages.lost + messages.unfetched


def disorders(came: list[tuple[int, int, int]]) -> int:
    """How many came for the first time after a later one of the same stream to the same receiver."""
    found, seen = 0, set[tuple[int, int, int]]()
    for index, (which, sender, seq) in enumerate(came):
        if (which, sender, seq) not in seen:
            before = [other for w, s, other in came[:index] if (w, s) == (which, sender)]
            found += any(other > seq for other in before)
        seen.add((which, sender, seq))
    return found
