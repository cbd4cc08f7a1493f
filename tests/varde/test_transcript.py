"""The transcript: whatever a relay does to the order of messages, the next one tells."""

from collections.abc import Mapping

from trio.testing import MockClock

from tests.cast import alice_laptop, bob_phone, carol_phone
from tests.varde.endpoints import Endpoint, SimulatedConversation, endpoint, why
from varde.events import Break, Gap, Reason
from varde_contract.bodies import Text
from varde_contract.envelope import Envelope, lists_digest
from varde_contract.frames import New
from varde_contract.ids import DeviceId
from varde_contract.talk import ConversationKind, GapReason

NEVER = frozenset[Break]()


def talk_of(*endpoints: Endpoint) -> SimulatedConversation:
    """A group whose devices have met, and send to each other pairwise."""
    talk = SimulatedConversation(ConversationKind.GROUP, *endpoints)
    talk.verify_everywhere()
    return talk


def breaks(reader: Endpoint, news: Mapping[DeviceId, New]) -> frozenset[Break]:
    """What does not fit when the reader opens its copy."""
    with reader.store.transaction():
        return frozenset(reader.keychain.open(news[reader.id]).breaks)


def lost(reader: Endpoint, talk: SimulatedConversation, seq: int) -> None:
    """The relay tells the reader that a number cannot be had."""
    with reader.store.transaction():
        reader.store.log.add(Gap(talk.conversation, seq, seq, GapReason.EXPIRED))


def test_what_comes_in_order_fits() -> None:
    """Three people who write and read by turns never break a transcript, and each message names those it follows."""
    alice, bob, carol = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    talk = talk_of(alice, bob, carol)
    for _ in range(3):
        for writer in talk.endpoints:
            news = talk.send_text(writer, "hei")
            assert all(breaks(reader, news) == NEVER for reader in talk.endpoints if reader is not writer)
    news = talk.send_text(alice, "last")
    with bob.store.transaction():
        envelope = bob.keychain.open(news[bob.id]).envelope
    assert isinstance(envelope, Envelope)
    assert (envelope.counter, [seen.device for seen in envelope.seen]) == (4, [carol.id, bob.id])
    assert [seen.counter for seen in envelope.seen] == [3, 3]


def test_the_second_of_three_comes_first_and_the_third_never() -> None:
    """Finding: a reordered and a dropped message of one sender were told by nothing."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = talk_of(alice, bob)
    one, two, _three = (talk.send_text(alice, text) for text in ("1", "2", "3"))
    assert breaks(bob, two) == {Break.DROPPED}
    assert breaks(bob, one) == {Break.REORDERED}
    assert breaks(bob, talk.send_text(alice, "4")) == {Break.DROPPED}
    assert breaks(bob, talk.send_text(alice, "5")) == NEVER


def test_what_was_told_to_be_lost_explains_a_hole() -> None:
    """A gap that is shown, and a message that could not be opened, are no second fault."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = talk_of(alice, bob)
    assert breaks(bob, talk.send_text(alice, "1")) == NEVER
    talk.send_text(alice, "expired")
    lost(bob, talk, 2)
    assert breaks(bob, talk.send_text(alice, "3")) == NEVER
    talk.send_text(alice, "dropped")
    assert breaks(bob, talk.send_text(alice, "5")) == {Break.DROPPED}


def test_a_newcomer_does_not_miss_what_was_before(autojump_clock: MockClock) -> None:
    """Who comes in later starts with counters that are high already."""
    alice, bob, carol = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    talk = talk_of(alice, bob)
    for _ in range(3):
        breaks(bob, talk.send_text(alice, "before"))
    talk.join(carol)
    talk.verify_everywhere()
    with carol.store.transaction():
        carol.store.transcript.add_lost(talk.conversation, talk.seq)
    assert breaks(carol, talk.send_text(alice, "welcome")) == NEVER
    assert breaks(carol, talk.send_text(bob, "hello")) == NEVER
    talk.send_text(alice, "dropped")
    assert breaks(carol, talk.send_text(alice, "and now")) == {Break.DROPPED}


def test_what_somebody_else_has_seen_is_missed() -> None:
    """A message that one reader got and another did not is told by the next one of the first reader."""
    alice, bob, carol = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    talk = talk_of(alice, bob, carol)
    breaks(carol, talk.send_text(alice, "for carol alone"))
    assert breaks(bob, talk.send_text(carol, "I agree")) == {Break.DROPPED}
    assert breaks(bob, talk.send_text(carol, "fully")) == NEVER


def test_two_histories_are_told_of(autojump_clock: MockClock) -> None:
    """A device of which two messages with one counter exist is found by who has seen the other one."""
    alice, bob, carol = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    talk = talk_of(alice, bob, carol)
    breaks(bob, talk.send_text(alice, "yes"))
    with alice.store.transaction():
        alice.store._database.run("DELETE FROM transcript")
    breaks(carol, talk.send_text(alice, "no"))
    assert breaks(bob, talk.send_text(carol, "she said no")) == {Break.FORKED}
    assert breaks(carol, talk.send_text(bob, "she said yes")) == {Break.FORKED}


def test_a_message_follows_the_one_before_it() -> None:
    """A sender that continues from another message than the one this reader has is told as forked."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = talk_of(alice, bob)
    yes, no = talk.draft(alice, "yes"), talk.draft(alice, "no")
    shown = talk.commit(alice, yes, talk.encrypt_for_each(alice, yes, Text("yes")), acked=False)
    talk.commit(alice, no, talk.encrypt_for_each(alice, no, Text("no")))
    assert breaks(bob, shown) == NEVER
    assert breaks(bob, talk.send_text(alice, "so be it")) == {Break.FORKED}


def test_a_restored_device_is_told_once() -> None:
    """A device that begins a new life says so by itself; what comes from its old one afterwards is out of order."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = talk_of(alice, bob)
    assert breaks(bob, talk.send_text(alice, "1")) == NEVER
    late = talk.send_text(alice, "2")
    with alice.store.transaction():
        alice.keychain.transcript.start_incarnation()
    assert breaks(bob, talk.send_text(alice, "back")) == {Break.RESTORED}
    assert breaks(bob, talk.send_text(alice, "again")) == NEVER
    assert breaks(bob, late) == {Break.REORDERED}


def test_the_device_lists_are_bound() -> None:
    """Every message names the newest lists of all members, the sender's own too; a newer list makes another digest."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = talk_of(alice, bob)
    news = talk.send_text(alice, "hei")
    with bob.store.transaction():
        envelope = bob.keychain.open(news[bob.id]).envelope
    pinned = {person.account: bob.store.pins.newest(person.account) for person in (alice.person, bob.person)}
    lists = [(account, each.number, each.hash) for account, each in pinned.items() if each is not None]
    assert len(lists) == 2
    assert envelope.lists == lists_digest(lists) == lists_digest(reversed(lists))
    account, number, digest = lists[0]
    assert lists_digest([(account, number + 1, digest), lists[1]]) != envelope.lists


def test_the_kind_is_bound() -> None:
    """What was written in a group does not pass for a message of a dm: the kind is the sender's word."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = SimulatedConversation(ConversationKind.DM, alice, bob)
    talk.verify_everywhere()
    liar = SimulatedConversation(ConversationKind.GROUP, alice, bob)
    liar.conversation, liar.version = talk.conversation, 2
    with alice.store.transaction():
        alice.store.conversations.put_roster(liar.view)
    liar.prove(alice)
    assert why(bob, liar.send_text(alice, "a group?")[bob.id]) is Reason.MISATTRIBUTED
