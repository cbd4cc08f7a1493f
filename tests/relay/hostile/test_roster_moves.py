"""A member who changes a roster without end: the others' sends go on, and nobody hears more of it than is useful."""

from typing import Final

import trio
from trio.testing import wait_all_tasks_blocked

from domain.people.events import DevicesChanged
from domain.talk import model as talk
from domain.talk.ports import NewRoster
from tests.cast import BIRTH_MS, alice, alice_phone, bob, bob_laptop, carol, carol_phone, set_profiles, settle
from tests.ids import id_of
from tests.relay.memory_node import Backend, Sends, open_node, open_room, roster_now
from varde_contract import frames as f
from varde_contract.ids import ConversationId
from varde_contract.membership import Member
from varde_contract.talk import ConversationKind, Role

TOGGLES: Final = 404
PERIOD: Final = 0.05
"""Twenty a second."""
ROUND_TRIP: Final = 0.08
ROOMS: Final = 5


async def toggle(backend: Backend, times: int) -> None:
    """Bob takes his mode off his laptop and puts it back, over and over."""
    device, profiles = bob_laptop.id, bob_laptop.model.profiles
    for number in range(times):
        wanted = profiles if number % 2 else ()
        moves = await set_profiles(backend.stores, bob.account, device, wanted, backend.clock())
        await backend.bus.publish([DevicesChanged(move.conversation, move.version) for move in moves])
        await trio.sleep(PERIOD)  # of virtual time: the pace is what is tried
        backend.clock.advance(round(PERIOD * 1_000))


async def open_group(backend: Backend, number: int) -> talk.Roster:
    """Open one more group of Alice, Bob and Carol; return its roster."""
    members = {each.profile: Member(each.account, Role.MEMBER, accepted=True) for each in (alice, bob, carol)}
    group = NewRoster(ConversationId(id_of(number)), ConversationKind.GROUP, members, None, BIRTH_MS)
    conversation, _ = await backend.stores.conversations.open(group)
    return await roster_now(backend, conversation)


async def test_a_member_who_toggles_a_whitelist_silences_nobody(backend: Backend, sends: Sends) -> None:
    """Over a round trip of 80 ms, in which the roster moves more than once, every message of the others is stored."""
    roster = await open_room(backend, alice, bob, carol)
    async with open_node(backend, changes_pause=1.0) as node, trio.open_nursery() as nursery:
        phone = await node.listen(carol_phone, roster.conversation)
        nursery.start_soon(toggle, backend, TOGGLES)
        nursery.cancel_scope.deadline = trio.current_time() + TOGGLES * PERIOD
        for number in range(1, 101):
            seen = await roster_now(backend, roster.conversation)
            await trio.sleep(1.5 * ROUND_TRIP)  # of virtual time: the network
            await phone.send(sends.group(seen, carol))
            assert (await phone.wait_for(f.Ack)).seq == number
            assert (await roster_now(backend, roster.conversation)).version > seen.version
        nursery.cancel_scope.cancel()
    assert backend.memory.talks[roster.conversation].head == 100


async def test_a_bystander_hears_of_a_roster_once_a_second(backend: Backend) -> None:
    """404 changes of five rosters in twenty seconds are a few frames a second, and the last of them is the roster's."""
    for person in (alice, bob, carol):
        await settle(backend.stores, person)
    rooms = [await open_group(backend, number) for number in range(ROOMS)]
    async with open_node(backend, changes_pause=1.0) as node:
        phone = await node.connect_client(alice_phone)
        await phone.send(f.Join())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(toggle, backend, TOGGLES)
        await trio.sleep(2)  # of virtual time: the last change is told a second later
        heard = [frame for frame in await phone.receive_pending() if isinstance(frame, f.Changed)]
        frames = len(heard) / len(rooms)
        assert 18 < frames < 24, "404 changes at 20 a second, told once a second"
        for room in rooms:
            (*_, last) = (frame.value for frame in heard if frame.conversation == room.conversation)
            assert last == (await roster_now(backend, room.conversation)).version == TOGGLES + 1


async def test_the_first_change_is_told_at_once(backend: Backend) -> None:
    """Who is added to a quiet conversation does not wait for a pause that nobody made necessary."""
    roster = await open_room(backend, alice, bob)
    async with open_node(backend, changes_pause=1.0) as node:
        phone = await node.listen(alice_phone, roster.conversation)
        began = trio.current_time()
        await toggle(backend, 1)
        assert (await phone.receive(f.Changed)).value == roster.version + 1
        assert trio.current_time() <= began + PERIOD


async def test_a_full_conversation_leaves_the_others_their_place(backend: Backend, sends: Sends) -> None:
    """While a hundred messages of one conversation wait, one of another is in the very next batch, and in order."""
    busy, quiet = await open_room(backend, alice, bob), await open_room(backend, carol)
    async with open_node(backend, batch_drafts=16, queue_drafts=300) as node:
        phone, other = await node.connect_client(alice_phone), await node.connect_client(carol_phone)
        backend.interference.hold_commits()
        await phone.send(*(sends.group(busy, alice) for _ in range(200)))
        await backend.interference.wait_commit_held()
        await other.send(sends.group(quiet, carol), sends.group(quiet, carol))
        await wait_all_tasks_blocked()
        backend.interference.release_commits()
        assert [(await other.receive(f.Ack)).seq for _ in range(2)] == [1, 2]
        batches = getattr(backend.stores.journal, "batches", [])
        assert [each.conversation for each in batches[1]].count(quiet.conversation) == 2
        heard = [frame for frame in await phone.receive_pending() if isinstance(frame, f.Ack)]
        assert [ack.seq for ack in heard] == list(range(1, len(heard) + 1))
        assert len(heard) <= 16 + 150  # half of the queue is for the others
