"""What a chat shows is a value: how each event changes it, without a screen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.utils import get_cwidth

from tests.cli.chat.memory_rpc import BOB, CAROL, GROUP, ME, WITH_BOB, MemoryRpc
from varde.events import Change, MembershipChange, Receipt
from varde_cli.chat import model, rows
from varde_cli.chat.model import LOADED, Mode, State
from varde_cli.chat.remote import Member, Message


def home() -> tuple[State, list[Message]]:
    """A state in which the group is open, with ten messages, and they."""
    rpc = MemoryRpc()
    messages = [rpc.written(f"message {number}.", where=GROUP, by=ME if number % 2 else BOB) for number in range(10)]
    state = State(mine=frozenset({ME}), mode=Mode.WRITE, open=GROUP)
    return model.add_messages(state, GROUP, messages), messages


def test_messages_stand_in_the_order_of_their_numbers_whenever_they_come() -> None:
    """Each once, the newest version of it."""
    state, messages = home()
    again = model.add_messages(State(open=GROUP), GROUP, [*messages[5:], *messages[:7]])
    assert again.talk.messages == state.talk.messages == tuple(messages)


def test_notices_stay_between_the_messages_that_were_there() -> None:
    """An older page that is loaded later does not move them."""
    _, messages = home()
    state = model.add_messages(State(open=GROUP), GROUP, messages[5:8])
    state = model.add_notice(state, GROUP, "somebody joined")
    state = model.add_messages(state, GROUP, [*messages[:5], *messages[8:]])
    texts = [each.text if each.message is None else each.message.text for each in state.talk.entries]
    assert texts.index("somebody joined") == texts.index("message 7.") + 1


def test_what_is_known_of_readers_never_goes_back() -> None:
    """A list of members that was asked for before a receipt came does not undo it."""
    state, messages = home()
    members = (Member(profile=BOB, name="bob"), Member(profile=CAROL, name="carol", delivered=10))
    state = model.take_members(state, GROUP, members)
    assert rows.mark(state.talk, messages[9]) is rows.Mark.STORED
    state = model.take_receipt(state, Receipt(GROUP, BOB, 10, read=True))
    assert rows.mark(state.talk, messages[9]) is rows.Mark.DELIVERED
    state = model.take_members(state, GROUP, members)
    assert rows.mark(state.talk, messages[9]) is rows.Mark.DELIVERED
    state = model.take_receipt(state, Receipt(GROUP, CAROL, 12, read=True))
    assert rows.mark(state.talk, messages[9]) is rows.Mark.READ
    assert model.take_receipt(state, Receipt(GROUP, ME, 12, read=True)) == state


def test_a_list_of_members_that_is_behind_loses_no_receipt() -> None:
    """It was asked for before the other had accepted, and comes after what they have read."""
    state, messages = home()
    state = model.take_receipt(state, Receipt(GROUP, BOB, 10, read=True))
    state = model.take_members(state, GROUP, (Member(profile=ME, name="you"),))
    assert rows.mark(state.talk, messages[9]) is rows.Mark.READ
    state = model.take_members(state, GROUP, (Member(profile=CAROL, name="carol"),))
    assert rows.mark(state.talk, messages[9]) is rows.Mark.STORED, "Bob has left, and Carol has not read it"


def test_a_notice_names_people_by_what_they_are_called_now() -> None:
    """An event may come before the names of who is in it."""
    joined = MembershipChange(GROUP, 1, 1, Change.ACCEPTED, BOB, BOB, None, mine=False)
    state = model.add_notice(State(open=GROUP), GROUP, joined)
    state = model.take_members(state, GROUP, (Member(profile=BOB, name="bob"),))
    assert "bob joined" in "".join(text for row in rows.rows(state, 60) for _, text in row.fragments)


def test_a_page_with_a_hole_before_it_replaces_what_was_there() -> None:
    """Two messages that are shown one below the other have none between them that is not shown."""
    state, messages = home()
    state = model.add_messages(State(open=GROUP), GROUP, messages[:3])
    assert len(model.show_newest(state, GROUP, messages[3:], whole=False).talk.messages) == 10
    assert len(model.show_newest(state, GROUP, messages[4:], whole=False).talk.messages) == 6


def test_memory_is_bounded_while_nobody_looks_back() -> None:
    """The oldest are let go, and can be loaded again."""
    rpc = MemoryRpc()
    messages = [rpc.written("x") for _ in range(LOADED + 10)]
    state = model.set_extent(State(open=WITH_BOB), WITH_BOB, whole=True)
    state = model.add_messages(state, WITH_BOB, messages)
    assert len(state.talk.messages) == LOADED
    assert not state.talk.whole


def test_esc_leaves_the_innermost() -> None:
    """A selection, a reply, a thread, then the conversation."""
    state, messages = home()
    state = model.move(state, -1)
    assert (state.mode, state.selection) == (Mode.SELECT, messages[9])
    state = model.leave(state)
    assert (state.mode, state.selection) == (Mode.WRITE, None)
    assert model.leave(state).mode is Mode.PICK


ODD = st.sampled_from(
    ["a", "b\n\t", "é", "한", "字", "👍🏽", "❤️", "🇳🇴", "\xa0", "\u200d", "\u0301", "—", " ", "  ", "word", "long" * 9]
)


@given(st.lists(ODD, max_size=40).map("".join), st.integers(6, 40))
def test_wrapping_loses_nothing_and_fits(text: str, width: int) -> None:
    """Every character that can be seen is in a line, in order, and no line is wider than it may be."""
    lines = rows.wrap(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(get_cwidth(line) <= width for line in lines)


@pytest.mark.parametrize("width", [1, 2, 3, 10])
def test_no_width_is_too_small(width: int) -> None:
    """A window of one column has rows, too."""
    state, messages = home()
    found = rows.rows(state, width)
    assert {row.key for row in found} >= {model.key_of(each.ref) for each in messages}
