"""The contract of the device store."""

import trio
from msgspec.structs import replace

from domain.people import model as people
from domain.people.ports import AdoptFault
from domain.ports import Stores
from domain.talk import model as talk_model
from domain.talk.ports import NewRoster
from tests.cast import (
    BIRTH_MS,
    MANY,
    ONE_TIME_KEYS,
    CastDevice,
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_phone,
    carol,
    enrol,
    open_conversation,
    put_member,
    revoke,
    set_profiles,
    settle,
)
from tests.ids import id_of
from tests.store_contracts.messages import draft, page_of, send
from varde_contract.ids import ConversationId, DeviceId, SessionId
from varde_contract.membership import Member
from varde_contract.talk import ConversationKind, Role

TABLET = alice.further_device("tablet")


def session(number: int) -> people.Session:
    """A further session of Alice's."""
    return replace(alice_phone.session, id=SessionId(id_of(number)))


async def test_a_device_is_found_by_its_account_only(stores: Stores) -> None:
    """A device comes back as it was given, to its own account."""
    await settle(stores, alice, bob)
    assert await stores.devices.find(alice.account, alice_phone.id) == alice_phone.model
    assert await stores.devices.find(bob.account, alice_phone.id) is None
    assert set(await stores.devices.list_all(alice.account)) == {alice_phone.model, alice_laptop.model}


async def test_adding_a_device_moves_the_rosters_it_comes_into(stores: Stores) -> None:
    """The rosters of the conversations of its profiles move, those of others do not; it is in them at once."""
    await settle(stores, alice, bob, carol)
    shared, other = await open_conversation(stores, alice, bob), await open_conversation(stores, bob, carol)
    moves = await enrol(stores, TABLET)
    assert moves == [people.RosterChange(shared, 2)]
    rosters = await stores.conversations.rosters([shared, other])
    assert rosters[shared].version == 2
    assert rosters[shared].devices[TABLET.id] == {alice.profile}
    assert rosters[other].version == 1


async def test_a_late_device_stands_at_the_head(stores: Stores) -> None:
    """A device added to a conversation with a log starts after it, and has what comes then."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, *(draft(bob_phone, talk) for _ in range(3)))
    await enrol(stores, TABLET)
    await send(stores, draft(bob_phone, talk, version=2))
    page = await page_of(stores, TABLET, talk)
    assert (page.start, page.upto, page.head, page.next_seq) == (4, 3, 4, 5)
    assert [(entry.seq, entry.ciphertext) for entry in page.entries] == [
        (1, None),
        (2, None),
        (3, None),
        (4, b"sealed"),
    ]


async def sessions_of(stores: Stores) -> dict[SessionId, DeviceId | None]:
    """Alice's sessions, and what each is bound to."""
    return {each.id: each.device for each in await stores.sessions.list_live(alice.account, BIRTH_MS)}


async def test_a_session_adopts_a_device_and_is_all_it_has(stores: Stores) -> None:
    """The fresh session has the device, also when it asks again; the old one is over, and the sibling's is not."""
    await settle(stores, alice)
    fresh = session(1)
    await stores.sessions.add(fresh)
    for _ in range(2):
        assert await stores.devices.adopt(alice.account, alice_phone.id, fresh.id) is None
        assert await sessions_of(stores) == {fresh.id: alice_phone.id, alice_laptop.session.id: alice_laptop.id}
    assert await stores.sessions.find(alice.account, fresh.id) == replace(fresh, device=alice_phone.id)


async def test_an_adopted_device_is_where_it_was(stores: Stores) -> None:
    """It has the messages that came while it had no session, and its prekeys; no roster moves, no ticket is void."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    assert await stores.sessions.end(alice.account, alice_phone.session.id)
    await send(stores, draft(bob_phone, talk))
    await stores.sessions.add(session(1))
    assert await stores.devices.adopt(alice.account, alice_phone.id, session(1).id) is None
    page = await page_of(stores, alice_phone, talk)
    assert [entry.ciphertext for entry in page.entries] == [b"sealed"]
    assert await stores.prekeys.count(alice.account, alice_phone.id) == (ONE_TIME_KEYS, True)
    assert (await stores.conversations.rosters([talk]))[talk].version == 1
    assert await stores.devices.revocations(0) == []


async def test_only_a_device_that_is_there_is_adopted(stores: Stores) -> None:
    """An unknown, another account's or a revoked device is not, whatever the session; it stays free and others live."""
    await settle(stores, alice, bob)
    await revoke(stores, alice.account, alice_laptop.id, BIRTH_MS)
    await stores.sessions.add(session(1))
    for device in (TABLET.id, bob_phone.id, alice_laptop.id):
        for asking in (session(1).id, alice_phone.session.id, TABLET.session.id):
            assert await stores.devices.adopt(alice.account, device, asking) is AdoptFault.NO_DEVICE
    assert await sessions_of(stores) == {session(1).id: None, alice_phone.session.id: alice_phone.id}
    assert await stores.sessions.find(bob.account, bob_phone.session.id) == replace(
        bob_phone.session, device=bob_phone.id
    )


async def test_a_session_that_is_bound_or_over_adopts_nothing(stores: Stores) -> None:
    """A session of another device, one that ended, and one of another account change nothing."""
    await settle(stores, alice, bob)
    before = await sessions_of(stores)
    stranger = replace(bob_phone.session, id=SessionId(id_of(1)))
    await stores.sessions.add(stranger)
    for asking in (alice_laptop.session.id, TABLET.session.id, stranger.id):
        assert await stores.devices.adopt(alice.account, alice_phone.id, asking) is AdoptFault.SESSION_BOUND
    assert await sessions_of(stores) == before
    assert await stores.sessions.find(bob.account, stranger.id) == stranger


async def test_of_several_sessions_at_once_one_has_the_device(nodes: tuple[Stores, Stores]) -> None:
    """Each may have had it for a moment; in the end it is one, and the others are over."""
    await settle(nodes[0], alice)
    for number in range(1, 7):
        await nodes[0].sessions.add(session(number))
    answers = []

    async def adopt(stores: Stores, number: int) -> None:
        answers.append(await stores.devices.adopt(alice.account, alice_phone.id, session(number).id))

    async with trio.open_nursery() as nursery:
        for number in range(1, 7):
            nursery.start_soon(adopt, nodes[number % 2], number)
    assert answers == [None] * 6
    left = list((await sessions_of(nodes[0])).values())
    assert (len(left), set(left)) == (2, {alice_phone.id, alice_laptop.id})


async def test_a_device_that_is_revoked_while_it_is_adopted_has_no_session(nodes: tuple[Stores, Stores]) -> None:
    """Whichever comes first, nobody acts as the device afterwards."""
    await settle(nodes[0], alice)

    async def adopt(device: CastDevice, number: int) -> None:
        done = await nodes[0].devices.adopt(alice.account, device.id, session(number).id)
        assert done in {None, AdoptFault.NO_DEVICE}

    for number in range(1, 9):
        device = alice.further_device(f"number {number}")
        await enrol(nodes[0], device)
        await nodes[0].sessions.add(session(number))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(adopt, device, number)
            nursery.start_soon(revoke, nodes[1], alice.account, device.id, BIRTH_MS)
        assert device.id not in (await sessions_of(nodes[0])).values()


async def test_a_whitelist_change_moves_only_what_it_changes(stores: Stores) -> None:
    """Rosters move for the profiles that come or go; the device is gone from those it no longer receives for."""
    await settle(stores, alice, bob)
    privat = await open_conversation(stores, alice, bob)
    members = {
        alice.jobb.id: Member(alice.account, Role.OWNER, accepted=True),
        bob.profile: Member(bob.account, Role.MEMBER, accepted=True),
    }
    jobb, _ = await stores.conversations.open(
        NewRoster(ConversationId(id_of(9)), ConversationKind.GROUP, members, None, BIRTH_MS)
    )
    assert await set_profiles(stores, alice.account, alice_phone.id, [alice.jobb.id], BIRTH_MS + 5) == [
        people.RosterChange(privat, 2)
    ]
    rosters = await stores.conversations.rosters([privat, jobb])
    assert alice_phone.id not in rosters[privat].devices
    assert rosters[jobb].devices[alice_phone.id] == {alice.jobb.id}
    assert rosters[jobb].version == 1
    (none,) = await stores.mailbox.read([talk_model.LogRequest(alice_phone.id, privat, 1, 10, 1000)])
    assert none is None
    found = await stores.devices.find(alice.account, alice_phone.id)
    assert found is not None
    assert found.profiles == (alice.jobb.id,)


async def test_a_device_that_comes_back_starts_anew(stores: Stores) -> None:
    """A profile taken off the whitelist and put back gives a position at the head of then, not the old one."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await set_profiles(stores, alice.account, alice_phone.id, [alice.jobb.id], BIRTH_MS + 1)
    await send(stores, draft(bob_phone, talk, version=2))
    moves = await set_profiles(stores, alice.account, alice_phone.id, alice_phone.model.profiles, BIRTH_MS + 2)
    assert moves == [people.RosterChange(talk, 3)]
    page = await page_of(stores, alice_phone, talk)
    assert (page.start, page.upto) == (2, 1)


async def test_a_device_that_belongs_through_two_profiles_stays_for_one(stores: Stores) -> None:
    """With both modes of Alice in a conversation, a device that loses one of them keeps its position."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await put_member(stores, talk, alice, profile=alice.jobb.id)
    await send(stores, draft(bob_phone, talk, version=2))
    assert await set_profiles(stores, alice.account, alice_phone.id, [alice.jobb.id], BIRTH_MS + 1) == [
        people.RosterChange(talk, 3)
    ]
    page = await page_of(stores, alice_phone, talk)
    assert (page.start, page.upto) == (1, 0)
    assert page.entries[0].ciphertext == b"sealed"


async def test_revoking_takes_everything_a_device_has(stores: Stores) -> None:
    """Sessions, prekeys, positions and places in rosters of a revoked device are gone; its siblings keep theirs."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    assert await revoke(stores, alice.account, alice_phone.id, BIRTH_MS + 9) == [people.RosterChange(talk, 2)]
    assert await stores.devices.find(alice.account, alice_phone.id) is None
    assert await stores.sessions.find(alice.account, alice_phone.session.id) is None
    assert await stores.sessions.find(alice.account, alice_laptop.session.id) is not None
    assert await stores.prekeys.count(alice.account, alice_phone.id) == (0, False)
    claimed = await stores.prekeys.claim(
        bob.account, [(alice.account, alice_phone.id)], now_ms=BIRTH_MS, window_ms=1000, most=5
    )
    assert claimed == []
    assert await stores.mailbox.read([talk_model.LogRequest(alice_phone.id, talk, 1, 10, 1000)]) == [None]
    assert await stores.conversations.list_for(alice_phone.id, None, 10) == []
    roster = (await stores.conversations.rosters([talk]))[talk]
    assert roster.devices.keys() == {alice_laptop.id, *(device.id for device in bob.devices)}


async def test_revocations_are_read_from_a_time_on(stores: Stores) -> None:
    """A changed whitelist voids earlier tickets, revoking voids all; both are read by when they were written."""
    await settle(stores, alice)
    await set_profiles(stores, alice.account, alice_phone.id, [alice.profile], BIRTH_MS + 100)
    await revoke(stores, alice.account, alice_laptop.id, BIRTH_MS + 200)
    voided = people.Revocation(alice_phone.id, BIRTH_MS + 100, final=False)
    revoked = people.Revocation(alice_laptop.id, BIRTH_MS + 200, final=True)
    assert set(await stores.devices.revocations(BIRTH_MS + 100)) == {voided, revoked}
    assert await stores.devices.revocations(BIRTH_MS + 101) == [revoked]
    assert await stores.devices.revocations(BIRTH_MS + 201) == []


async def test_a_revocation_never_goes_back(stores: Stores) -> None:
    """A change by a node whose clock is behind leaves the later time; revoking after that is final."""
    await settle(stores, alice)
    await set_profiles(stores, alice.account, alice_phone.id, [alice.profile], BIRTH_MS + 100)
    await set_profiles(stores, alice.account, alice_phone.id, [alice.jobb.id], BIRTH_MS + 50)
    assert await stores.devices.revocations(0) == [people.Revocation(alice_phone.id, BIRTH_MS + 100, final=False)]
    await revoke(stores, alice.account, alice_phone.id, BIRTH_MS + 60)
    assert await stores.devices.revocations(0) == [people.Revocation(alice_phone.id, BIRTH_MS + 100, final=True)]


async def test_tickets_are_voided_up_to_a_time(stores: Stores) -> None:
    """Tickets can be voided with nothing else changed; earlier times and revocations stay as they were."""
    await settle(stores, alice)
    for device, now_ms in ((alice_phone, 100), (alice_phone, 50), (alice_laptop, 70)):
        await stores.devices.void_tickets(alice.account, device.id, BIRTH_MS + now_ms)
    await revoke(stores, alice.account, alice_laptop.id, BIRTH_MS + 80)
    await stores.devices.void_tickets(alice.account, alice_laptop.id, BIRTH_MS + 90)
    assert set(await stores.devices.revocations(0)) == {
        people.Revocation(alice_phone.id, BIRTH_MS + 100, final=False),
        people.Revocation(alice_laptop.id, BIRTH_MS + 90, final=True),
    }
    assert await stores.devices.find(alice.account, alice_phone.id) == alice_phone.model


async def test_a_device_added_while_a_conversation_opens_is_in_it(nodes: tuple[Stores, Stores]) -> None:
    """Whichever comes first, the new device ends up in the roster, and with a position."""
    await settle(nodes[0], alice)

    async def open_groups(start: int) -> None:
        for number in range(start, start + 3):
            members = {alice.profile: Member(alice.account, Role.OWNER, accepted=True)}
            group = NewRoster(ConversationId(id_of(number)), ConversationKind.GROUP, members, None, BIRTH_MS)
            await nodes[1].conversations.open(group)

    for attempt in range(8):
        tablet = alice.further_device(f"tablet {attempt}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(enrol, nodes[0], tablet)
            for task in range(3):
                nursery.start_soon(open_groups, 1 + 100 * attempt + 10 * task)
        listed = await nodes[0].conversations.list_for(tablet.id, None, MANY)
        assert len(listed) == 9 * (attempt + 1)


async def test_what_was_decided_without_a_device_is_before_its_start(nodes: tuple[Stores, Stores]) -> None:
    """A device comes in at the number where senders begin to know of it, however busy the conversation is."""
    await settle(nodes[0], alice, bob)
    talk = await open_conversation(nodes[0], alice, bob)

    async def write(version: int) -> None:
        while await nodes[1].journal.commit([draft(bob_phone, talk, version=version)]) != [talk_model.RosterOutdated()]:
            pass

    for version in range(1, 9):
        tablet = alice.further_device(f"tablet {version}")
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(write, version)
            nursery.start_soon(enrol, nodes[0], tablet)
        page = await page_of(nodes[0], tablet, talk, limit=1)
        assert page.start == page.head + 1
