"""The contract of the conversation store."""

import trio
from msgspec.structs import replace

from domain.people import model as people
from domain.ports import Stores
from domain.talk import model as talk_model
from domain.talk.ports import NewRoster
from tests.cast import (
    BIRTH_MS,
    Person,
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_phone,
    carol,
    carol_phone,
    dave,
    mallory_phone,
    open_conversation,
    put_member,
    remove_member,
    roster_of,
    set_profiles,
    settle,
)
from tests.ids import id_of
from tests.store_contracts.messages import draft, held, page_of, send, version_of
from varde_contract.ids import ConversationId, DeviceId, ProfileId
from varde_contract.membership import Member
from varde_contract.people import Policies, Theme
from varde_contract.talk import ConversationKind, Role

UNKNOWN = ConversationId(id_of(1))


def members_of(*people: Person) -> dict[ProfileId, Member]:
    """Members of a new conversation: these people's private modes."""
    return {person.profile: Member(person.account, Role.MEMBER, accepted=True) for person in people}


async def test_a_conversation_opens_with_its_members(stores: Stores) -> None:
    """The roster of a new conversation has its members and their current devices, at version 1, with nothing said."""
    await settle(stores, alice, bob, carol)
    talk = await open_conversation(stores, alice, bob, carol)
    rosters = await stores.conversations.rosters([talk, UNKNOWN])
    assert rosters == {talk: roster_of(alice, bob, carol)}
    page = await page_of(stores, alice_phone, talk)
    assert (page.head, page.start, page.upto, page.next_seq, page.entries) == (0, 1, 0, 1, ())


async def test_a_pair_has_one_conversation(stores: Stores) -> None:
    """Opening the dm of a pair, or a profile's conversation with itself, again returns the one that is there."""
    await settle(stores, alice, bob)
    dm = min(alice.profile, bob.profile), max(alice.profile, bob.profile)
    for pair, members, start in (
        (dm, members_of(alice, bob), 10),
        ((alice.profile,) * 2, members_of(alice), 20),
    ):
        first, second = (ConversationId(id_of(start + number)) for number in range(2))
        news = [NewRoster(each, ConversationKind.DM, members, pair, BIRTH_MS) for each in (first, second)]
        assert [await stores.conversations.open(new) for new in news] == [(first, True), (first, False)]
        assert second not in await stores.conversations.rosters([first, second])


async def test_a_pair_has_one_conversation_even_when_both_open_it(nodes: tuple[Stores, Stores]) -> None:
    """Many who open the same dm at once get the same one, and one of them is told that it is new."""
    await settle(nodes[0], alice, bob)
    pair = min(alice.profile, bob.profile), max(alice.profile, bob.profile)
    answers = []

    async def open_dm(stores: Stores, number: int) -> None:
        new = NewRoster(ConversationId(id_of(number)), ConversationKind.DM, members_of(alice, bob), pair, BIRTH_MS)
        answers.append(await stores.conversations.open(new))

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(open_dm, nodes[number % 2], number)
    assert len({conversation for conversation, _ in answers}) == 1
    assert [made for _, made in answers].count(True) == 1


async def test_a_roster_shows_policies_as_they_are(stores: Stores) -> None:
    """What a profile's policies allow is in the roster of its conversations, as soon as it is replaced."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await stores.profiles.replace(
        alice.account, alice.profile, Theme.DARK, Policies(read_receipts=False, typing=False, presence=False)
    )
    roster = (await stores.conversations.rosters([talk]))[talk]
    assert roster.members[alice.profile] == replace(
        roster_of(alice, bob).members[alice.profile], read_receipts=False, typing=False, presence=False
    )
    assert roster.members[bob.profile] == roster_of(alice, bob).members[bob.profile]


async def test_a_device_is_in_a_roster_with_the_member_profiles_it_receives_for(stores: Stores) -> None:
    """A device that receives for two members is there once, for both; one that receives for none is not there."""
    await settle(stores, alice, bob)
    await set_profiles(stores, alice.account, alice_laptop.id, [alice.jobb.id], BIRTH_MS)
    talk = await open_conversation(stores, alice, bob)
    roster = (await stores.conversations.rosters([talk]))[talk]
    assert alice_laptop.id not in roster.devices
    await put_member(stores, talk, alice, profile=alice.jobb.id)
    roster = (await stores.conversations.rosters([talk]))[talk]
    assert roster.devices[alice_laptop.id] == {alice.jobb.id}
    assert roster.devices[alice_phone.id] == {alice.profile, alice.jobb.id}


async def test_a_view_has_salts_and_the_newest_lists(stores: Stores) -> None:
    """With them a client checks members and devices; nothing is said of other modes."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, draft(alice_phone, talk))
    newest = [await stores.devices.newest_list(person.account) for person in (alice, bob)]
    assert await stores.conversations.view(talk) == talk_model.RosterView(
        roster=roster_of(alice, bob),
        invited={},
        chain=None,
        created_ms=BIRTH_MS,
        head=1,
        salts={alice.profile: alice.privat.salt, bob.profile: bob.privat.salt},
        lists={each.account: talk_model.ListHead(each.number, each.hash) for each in newest if each is not None},
    )


async def test_conversations_are_listed_in_pages(stores: Stores) -> None:
    """A device's conversations come in the order of their ids, each once, whatever the size of the pages."""
    await settle(stores, alice, bob, carol, dave)
    talks = [await open_conversation(stores, alice, other) for other in (bob, carol, dave)]
    await open_conversation(stores, bob, carol)
    listed: list[talk_model.Summary] = []
    while page := await stores.conversations.list_for(alice_phone.id, listed[-1].conversation if listed else None, 2):
        listed += page
    assert [each.conversation for each in listed] == sorted(talks)
    assert await stores.conversations.list_for(mallory_phone.id, None, 10) == []


async def test_a_summary_says_where_the_device_stands(stores: Stores) -> None:
    """A summary has the kind, the member profiles the device receives for, head, position and version."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await put_member(stores, talk, alice, profile=alice.jobb.id)
    await send(stores, *(draft(bob_phone, talk, version=2) for _ in range(3)))
    await stores.mailbox.confirm([talk_model.Confirmation(talk, alice_phone.id, 2)])
    low, high = sorted((alice.profile, alice.jobb.id))
    assert await stores.conversations.list_for(alice_phone.id, None, 10) == [
        talk_model.Summary(talk, ConversationKind.GROUP, (low, high), head=3, upto=2, roster_version=2)
    ]


async def test_many_are_listed_at_once(stores: Stores) -> None:
    """Each request has its own device, cursor and size, newest first, in the order asked."""
    await settle(stores, alice, bob, carol, dave)
    for other in (bob, carol, dave):
        await send(stores, draft(alice_phone, await open_conversation(stores, alice, other)))
    listed = {
        device: (await stores.conversations.list_for(device, None, 10))[::-1]
        for device in (bob_phone.id, alice_phone.id, mallory_phone.id, carol_phone.id)
    }
    last = listed[alice_phone.id][0].conversation
    requests = [
        talk_model.ListRequest(device, before, limit)
        for device in (*listed, alice_phone.id)
        for before, limit in ((None, 10), (None, 2), (last, 10), (last, 1))
    ]
    pages = await stores.conversations.list_many(requests)
    older = [
        [each for each in listed[asked.device] if asked.before is None or each.conversation < asked.before]
        for asked in requests
    ]
    alone = [found[: asked.limit] for asked, found in zip(requests, older, strict=True)]
    assert [[standing(head) for head in page] for page in pages] == [[*map(standing, page)] for page in alone]
    assert sum(map(len, pages)) > 10
    assert await stores.conversations.list_many([]) == []


def standing(each: talk_model.Summary | talk_model.ConversationHead) -> tuple[object, ...]:
    """What both kinds of list say of a conversation."""
    return each.conversation, each.head, each.upto, each.roster_version


async def test_a_device_is_told_what_it_sent_last(stores: Stores) -> None:
    """The last own number behind the position: not those of others, and none where nothing is behind it."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    senders = (alice_phone, alice_phone, bob_phone)
    await send(stores, *(draft(sender, talk) for sender in senders))

    async def own_seq(device: DeviceId) -> int:
        ((head,),) = await stores.conversations.list_many([talk_model.ListRequest(device, None, 1)])
        return head.own_seq

    assert [await own_seq(each.id) for each in (alice_phone, bob_phone, alice_laptop)] == [2, 3, 0]
    await stores.mailbox.confirm([talk_model.Confirmation(talk, alice_phone.id, 2)])
    assert await own_seq(alice_phone.id) == 0


async def test_a_tip_says_how_far_a_conversation_has_come(stores: Stores) -> None:
    """Head and roster version, as they are; what is unknown is left out."""
    await settle(stores, alice, bob, carol)
    quiet, busy = await open_conversation(stores, alice, bob), await open_conversation(stores, alice, carol)
    await send(stores, draft(alice_phone, busy), draft(alice_phone, busy))
    await put_member(stores, busy, carol, Role.ADMIN)
    heads = await stores.conversations.log_heads([busy, UNKNOWN, quiet])
    assert heads == {
        quiet: talk_model.LogHead(head=0, roster_version=1),
        busy: talk_model.LogHead(head=2, roster_version=2),
    }
    assert await stores.conversations.log_heads([]) == {}


async def test_recent_heads_are_those_of_a_time(stores: Stores) -> None:
    """The last number of each conversation that something was sent in, after the first moment and up to the last."""
    await settle(stores, alice, bob, carol)
    one, two = await open_conversation(stores, alice, bob), await open_conversation(stores, alice, carol)
    await send(stores, *(draft(alice_phone, one, sent_ms=BIRTH_MS + at) for at in (1, 2, 3)))
    await send(stores, draft(alice_phone, two, sent_ms=BIRTH_MS + 2))
    assert await stores.conversations.recent_heads(BIRTH_MS + 1, BIRTH_MS + 2) == {one: 2, two: 1}
    assert await stores.conversations.recent_heads(BIRTH_MS + 2, BIRTH_MS + 9) == {one: 3}
    assert await stores.conversations.recent_heads(BIRTH_MS + 3, BIRTH_MS + 9) == {}


async def test_a_member_joins_at_the_head(stores: Stores) -> None:
    """A new member has what comes after, with all devices; those who were there keep what they have."""
    await settle(stores, alice, bob, carol)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, draft(alice_phone, talk))
    assert await put_member(stores, talk, carol, Role.ADMIN) == people.RosterChange(talk, 2)
    await send(stores, draft(alice_phone, talk, version=2))
    roster = (await stores.conversations.rosters([talk]))[talk]
    assert (roster.members[carol.profile].from_seq, roster.members[carol.profile].role) == (2, Role.ADMIN)
    assert await held(stores, carol_phone, talk) == [2]
    assert await held(stores, bob_phone, talk) == [1, 2]


async def test_a_removed_member_can_read_nothing_more(stores: Stores) -> None:
    """The devices of a removed member have no place in the conversation, the others keep theirs."""
    await settle(stores, alice, bob, carol)
    talk = await open_conversation(stores, alice, bob, carol)
    await send(stores, draft(alice_phone, talk))
    assert await remove_member(stores, talk, bob) == people.RosterChange(talk, 2)
    assert await stores.mailbox.read([talk_model.LogRequest(bob_phone.id, talk, 1, 10, 1000)]) == [None]
    assert await stores.conversations.list_for(bob_phone.id, None, 10) == []
    assert await held(stores, carol_phone, talk) == [1]
    roster = (await stores.conversations.rosters([talk]))[talk]
    assert roster.members.keys() == {alice.profile, carol.profile}
    assert not roster.devices.keys() & {device.id for device in bob.devices}


async def test_a_member_who_comes_back_starts_anew(stores: Stores) -> None:
    """Who was removed and added again has nothing of what was said before."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, draft(alice_phone, talk))
    await remove_member(stores, talk, bob)
    await put_member(stores, talk, bob)
    await send(stores, draft(alice_phone, talk, version=3))
    assert await held(stores, bob_phone, talk) == [2]


async def test_the_last_member_may_leave(stores: Stores) -> None:
    """A conversation without members is still there, with nobody in it."""
    await settle(stores, alice)
    talk = await open_conversation(stores, alice)
    await remove_member(stores, talk, alice)
    rosters = await stores.conversations.rosters([talk])
    assert rosters == {talk: talk_model.Roster(talk, ConversationKind.GROUP, 2, {}, {})}
    view = await stores.conversations.view(talk)
    assert view is not None
    assert (view.salts, view.lists) == ({}, {})


async def test_a_role_changes(stores: Stores) -> None:
    """A changed role is in the roster, at the next version."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    assert await put_member(stores, talk, bob, Role.ADMIN) == people.RosterChange(talk, 2)
    roster = (await stores.conversations.rosters([talk]))[talk]
    assert roster.members[bob.profile].role is Role.ADMIN
    assert await version_of(stores, talk) == 2
