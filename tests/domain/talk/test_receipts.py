"""Who hears of whom, and receipts that gather."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.talk.model import Confirmation, Roster
from domain.talk.receipts import (
    PendingReceipts,
    ReadMark,
    delivered_audience,
    presence_audience,
    read_audience,
    typing_audience,
)
from tests.cast import (
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_laptop,
    bob_phone,
    carol,
    carol_phone,
    mallory,
    roster_of,
)
from varde_contract.ids import ConversationId, ProfileId

ROSTER = roster_of(alice, bob, carol)
OTHERS = {alice_laptop.id, alice_phone.id, carol_phone.id}
OWN = {bob_phone.id, bob_laptop.id}


def hiding(**policies: bool) -> Roster:
    """The roster with other policies of Bob."""
    return replace(ROSTER, members={**ROSTER.members, bob.profile: replace(ROSTER.members[bob.profile], **policies)})


def test_what_is_shown_goes_to_other_people() -> None:
    """By default everybody else hears everything, and of reading the own devices too."""
    assert delivered_audience(ROSTER, bob.profile) == OTHERS
    assert typing_audience(ROSTER, bob.profile) == OTHERS
    assert presence_audience(ROSTER, bob.profile) == OTHERS
    assert read_audience(ROSTER, bob.profile) == OTHERS | OWN


def test_each_policy_hides_its_own_and_nothing_else() -> None:
    """The own devices keep in step whatever is hidden from others."""
    ways = {
        "delivery_receipts": delivered_audience,
        "typing": typing_audience,
        "presence": presence_audience,
        "read_receipts": read_audience,
    }
    for policy, hears in ways.items():
        hidden = hiding(**{policy: False})
        assert hears(hidden, bob.profile) == (OWN if policy == "read_receipts" else frozenset())
        assert all(other(hidden, bob.profile) >= OTHERS for other in ways.values() if other is not hears)


def test_who_is_no_member_is_heard_by_nobody() -> None:
    """A profile that left between saying and telling is told to nobody."""
    assert typing_audience(ROSTER, mallory.profile) == frozenset()
    assert read_audience(ROSTER, ProfileId(mallory.account)) == frozenset()


def test_two_modes_of_one_person_are_one_person() -> None:
    """Where both modes of an account are members, its devices are not others to each other."""
    jobb = replace(ROSTER.members[bob.profile], profile=bob.jobb.id)
    devices = {**ROSTER.devices, bob_laptop.id: frozenset({bob.jobb.id})}
    roster = replace(ROSTER, members={**ROSTER.members, bob.jobb.id: jobb}, devices=devices)
    assert typing_audience(roster, bob.profile) == OTHERS
    assert read_audience(roster, bob.profile) == OTHERS | {bob_phone.id}


HERE = [ConversationId(alice.account), ConversationId(bob.account)]
steps = st.lists(
    st.tuples(st.sampled_from(HERE), st.sampled_from([alice_laptop.id, bob_phone.id]), st.integers(0, 50)), max_size=60
)


@given(steps, st.integers(1, 5))
def test_gathering_keeps_the_highest_of_each(said: list[tuple[ConversationId, object, int]], most: int) -> None:
    """However often a position moves, it comes out once, as far as it got, in batches of the size asked for."""
    gathered = PendingReceipts()
    highest: dict[tuple[ConversationId, object], int] = {}
    for conversation, who, upto in said:
        gathered.confirm(Confirmation(conversation, who, upto))  # type: ignore[arg-type]
        gathered.mark(ReadMark(conversation, who, upto))  # type: ignore[arg-type]
        highest[conversation, who] = max(upto, highest.get((conversation, who), 0))
    taken: list[Confirmation] = []
    while batch := gathered.take_confirmations(most):
        assert len(batch) <= most
        taken += batch
    marks = gathered.take_marks(1_000)
    assert {(each.conversation, each.device): each.upto for each in taken} == highest
    assert {(each.conversation, each.profile): each.upto for each in marks} == highest
    assert len(taken) == len(marks) == len(highest)
    assert len(gathered) == 0
