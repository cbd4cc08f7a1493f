"""What people say of each other's messages: threads, reactions, edits, deletion; and messages whose time is over."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import count

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.cast import CastDevice, alice, alice_laptop, bob, bob_phone
from tests.ids import id_of
from tests.varde.endpoints import memory_store
from varde.clock import fresh_id
from varde.event_stream import EventStream
from varde.events import Message, Reactions, Said, at
from varde.expiry import Expiry
from varde.sayings import Origin, SaidEvent, event_of, saying_of
from varde.store.log import Taken
from varde.store.references import REACTIONS_MOST, REFERENCES_MOST
from varde_contract.bodies import Delete, Edit, Mention, MessageRef, React, Saying, SetTimer, Text
from varde_contract.ids import ClientId, ConversationId

ROOM = ConversationId(id_of(0x700))
PEOPLE = {device.id: person for person in (alice, bob) for device in person.devices}


class Room:
    """The local store of Alice's laptop, and what comes into it."""

    def __init__(self) -> None:
        self.store = memory_store()
        self.log = self.store.log
        self._numbers: Iterator[int] = count(1)

    def say(self, device: CastDevice, saying: Saying) -> SaidEvent:
        """Take in what somebody says."""
        event = self.make(device, saying)
        self.take(event)
        return event

    def make(self, device: CastDevice, saying: Saying) -> SaidEvent:
        """Say something that has not come yet."""
        person, number = PEOPLE[device.id], next(self._numbers)
        origin = Origin(
            conversation=ROOM,
            seq=number,
            client_id=ClientId(fresh_id()),
            profile=person.profile,
            device=device.id,
            account=person.account,
            written=at(number * 1_000),
            received=at(number * 1_000),
            mine=person is alice,
        )
        return event_of(saying, origin)

    def take(self, event: SaidEvent) -> None:
        """Let it come."""
        with self.store.transaction():
            assert self.log.add(event, Taken.NOT_YET)

    def now(self, event: Said) -> Message:
        """The message as it stands now."""
        found = self.log.message(ROOM, event.ref)
        assert found is not None
        return found


@pytest.fixture
def room() -> Room:
    """An empty one."""
    return Room()


@pytest.mark.parametrize(
    "saying",
    [
        Text("hei @bob", (Mention(4, 4, bob.profile),), MessageRef(bob_phone.id, ClientId(id_of(1))), None, 60),
        React(MessageRef(bob_phone.id, ClientId(id_of(1))), "🔥", on=False),
        Edit(MessageRef(bob_phone.id, ClientId(id_of(1))), "hei", ()),
        Delete(MessageRef(bob_phone.id, ClientId(id_of(1)))),
        SetTimer(60),
    ],
    ids=lambda saying: type(saying).__name__,
)
def test_what_was_said_can_be_said_again(room: Room, saying: Saying) -> None:
    """A server that has lost it gets the same."""
    assert saying_of(room.make(alice_laptop, saying)) == saying


def test_reactions_are_counted_by_person(room: Room) -> None:
    """In the order of the log the newest of each person and emoji decides; whoever takes one away is gone from it."""
    hei = room.say(bob_phone, Text("hei"))
    for device, emoji, on in (
        (alice_laptop, "🔥", True),
        (bob_phone, "🔥", True),
        (bob_phone, "🎉", True),
        (alice_laptop, "🔥", False),
        (alice_laptop, "🔥", True),
        (bob_phone, "🎉", False),
    ):
        room.say(device, React(hei.ref, emoji, on))
    assert room.now(hei).reactions == (Reactions("🔥", (alice.profile, bob.profile)),)


def test_a_text_is_what_its_writer_made_of_it_last(room: Room) -> None:
    """By any of the account's devices, and by nobody else."""
    hei = room.say(bob_phone, Text("hei", (Mention(0, 3, alice.profile),)))
    room.say(bob.devices[1], Edit(hei.ref, "hallo", ()))
    edit = room.say(bob_phone, Edit(hei.ref, "hallo du", ()))
    room.say(alice_laptop, Edit(hei.ref, "I owe Alice money", ()))
    now = room.now(hei)
    assert (now.text, now.mentions, now.edited) == ("hallo du", (), edit.written)
    assert room.log.history(ROOM, 10, None) == [now]


def test_what_was_taken_back_leaves_nothing(room: Room) -> None:
    """Neither its text nor those it was edited to; by its writer alone."""
    hei = room.say(bob_phone, Text("canary-one"))
    room.say(bob_phone, Edit(hei.ref, "canary-two", ()))
    room.say(alice_laptop, Delete(hei.ref))
    assert room.now(hei).text == "canary-two"
    room.say(bob_phone, Delete(hei.ref))
    assert (room.now(hei).text, room.now(hei).deleted) == ("", True)
    entries = [room.log.entry(position) for position in room.log.not_taken(None)]
    assert not any("canary" in str(entry) for entry in entries)


def test_a_flood_of_references_is_read_in_part(room: Room) -> None:
    """The newest of each person are; edits of what somebody else wrote are not among them: nothing is crowded out."""
    hei = room.say(bob_phone, Text("hei"))
    room.say(bob_phone, Edit(hei.ref, "hallo", ()))
    room.say(bob_phone, React(hei.ref, "🎉", on=True))
    for number in range(REFERENCES_MOST + 1):
        room.say(alice_laptop, Edit(hei.ref, "I owe Alice money", ()))
        room.say(alice_laptop, React(hei.ref, chr(0x1F300 + number), on=True))
    now = room.now(hei)
    assert (now.text, len(now.reactions)) == ("hallo", 1 + REACTIONS_MOST)
    assert now.reactions[0] == Reactions("🎉", (bob.profile,))
    assert now.reactions[-1].emoji == chr(0x1F300 + REFERENCES_MOST)


def test_a_flood_before_its_message_hides_nothing(room: Room) -> None:
    """Whoever may edit and delete it is known when it comes."""
    hei = room.make(bob_phone, Text("hei"))
    room.say(bob_phone, Edit(hei.ref, "hallo", ()))
    for _ in range(REFERENCES_MOST):
        room.say(alice_laptop, Edit(hei.ref, "I owe Alice money", ()))
    room.take(hei)
    assert room.now(hei).text == "hallo"


def test_an_edit_of_what_was_taken_back_leaves_no_text(room: Room) -> None:
    """However late it comes, and however many there are."""
    hei = room.say(bob_phone, Text("hei"))
    for number in range(REFERENCES_MOST + 1):
        room.say(bob_phone, Edit(hei.ref, f"canary-{number}", ()))
    room.say(bob_phone, Delete(hei.ref))
    room.say(bob_phone, Edit(hei.ref, "canary-late", ()))
    entries = [room.log.entry(position) for position in room.log.not_taken(None)]
    assert not any("canary" in str(entry) for entry in entries)


@pytest.mark.parametrize("what", ["edit", "delete", "react"])
def test_what_comes_before_its_message_waits_for_it(room: Room, what: str) -> None:
    """A message may be held back, for its sender to be looked up, while others come in."""
    hei = room.make(bob_phone, Text("hei"))
    sayings: dict[str, Saying] = {
        "edit": Edit(hei.ref, "hallo"),
        "delete": Delete(hei.ref),
        "react": React(hei.ref, "🔥", on=True),
    }
    room.say(bob_phone, sayings[what])
    assert room.log.message(ROOM, hei.ref) is None
    room.take(hei)
    now = room.now(hei)
    assert (now.text, now.deleted, len(now.reactions)) == {
        "edit": ("hallo", False, 0),
        "delete": ("", True, 0),
        "react": ("hei", False, 1),
    }[what]


def test_a_thread_is_what_names_its_root(room: Room) -> None:
    """Its messages are in the history as well, and the root says how many there are."""
    root, other = room.say(bob_phone, Text("who comes?")), room.say(bob_phone, Text("something else"))
    first = room.say(alice_laptop, Text("I do", thread=root.ref))
    room.say(bob_phone, Text("me too", reply_to=first.ref, thread=root.ref))
    assert [each.text for each in room.log.thread(ROOM, root.ref)] == ["I do", "me too"]
    assert [room.now(each).replies for each in (root, other)] == [2, 0]
    assert len(room.log.history(ROOM, 10, None)) == 4


def test_the_timer_is_the_one_that_was_set_last(room: Room) -> None:
    """By the order of the log, also where an earlier one comes in later."""
    late = room.make(bob_phone, SetTimer(5))
    assert room.log.timer(ROOM) == 0
    room.say(alice_laptop, SetTimer(60))
    room.take(late)
    assert room.log.timer(ROOM) == 60
    room.say(bob_phone, SetTimer(0))
    assert room.log.timer(ROOM) == 0


def test_time_runs_from_the_reading(room: Room) -> None:
    """For what others wrote; for one's own, from the sending."""
    theirs, mine = room.say(bob_phone, Text("theirs", timer=60)), room.say(alice_laptop, Text("mine", timer=60))
    assert room.log.next_expiry() == 2_000 + 60_000
    with room.store.transaction():
        room.log.start_timers(ROOM, theirs.seq, 500_000)
        assert [each.ref for each in room.log.expire(62_000)] == [mine.ref]
    assert room.log.next_expiry() == 560_000
    assert (room.now(mine).deleted, room.now(theirs).text) == (True, "theirs")


async def test_what_is_due_is_erased(room: Room, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a task, which wakes for what comes in meanwhile."""
    began = at(0) + timedelta(days=1)
    monkeypatch.setattr("varde.expiry.now_ms", lambda: round(began.timestamp() * 1_000 + trio.current_time() * 1_000))
    expiry = Expiry(room.store, EventStream(room.store))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expiry.run)
        await trio.testing.wait_all_tasks_blocked()
        hei = room.say(bob_phone, Text("hei", timer=60))
        with room.store.transaction():
            room.log.start_timers(ROOM, hei.seq, round(began.timestamp() * 1_000))
        await trio.sleep(59)  # virtual: a second before the end of the timer
        assert room.now(hei).text == "hei"
        await trio.sleep(2)  # virtual: and a second behind it
        assert room.now(hei).deleted
        nursery.cancel_scope.cancel()


def test_a_lost_message_that_was_taken_back_is_not_sent_again(room: Room) -> None:
    """What else was said is, in its order."""
    gone, hei = room.say(alice_laptop, Text("gone")), room.say(alice_laptop, Text("hei"))
    room.say(alice_laptop, Delete(gone.ref))
    room.say(bob_phone, Text("theirs"))
    room.say(alice_laptop, React(hei.ref, "🔥", on=True))
    with room.store.transaction():
        lost = room.log.lose(ROOM, 0, alice_laptop.id)
    assert [saying_of(each) for each in lost] == [Text("hei"), Delete(gone.ref), React(hei.ref, "🔥", on=True)]
