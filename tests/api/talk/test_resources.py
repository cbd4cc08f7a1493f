"""Conversations, members and messages over HTTP: what is allowed arrives, and changes are announced."""

from uuid import UUID

from domain.talk.events import MembershipChanged, MessagesCommitted
from tests.api.bodies import new_message
from tests.api.memory_api import DeviceClient, MemoryApi, refusal_of
from tests.cast import (
    alice,
    alice_phone,
    bob,
    bob_phone,
    carol,
    carol_phone,
    open_conversation,
)
from varde_contract.ids import ConversationId, ProfileId
from varde_contract.refusals import RefusalCode
from varde_contract.rest.talk import Conversations, ConversationView, MessageStored
from varde_contract.talk import ConversationKind, Role

PATH = "/v1/conversations"


async def test_a_dm_is_opened_once(api: MemoryApi) -> None:
    """The second time, from either side, it is the one that is there."""
    dm = {"kind": "dm", "profile": str(alice.profile), "members": [str(bob.profile)]}
    made = await DeviceClient(api, alice_phone).post(ConversationView, PATH, dm)
    assert made.kind is ConversationKind.DM
    back = {"kind": "dm", "profile": str(bob.profile), "members": [str(alice.profile)]}
    assert await DeviceClient(api, bob_phone).post(ConversationView, PATH, back, status=200) == made
    assert api.bus.published == [MembershipChanged(made.conversation, made.roster_version)]


async def test_a_roster_says_all_that_a_sender_needs(api: MemoryApi) -> None:
    """Members with their salts, the newest device lists, and devices, in the order of their ids."""
    conversation = await open_conversation(api.stores, alice, bob)
    view = await DeviceClient(api, bob_phone).get(ConversationView, f"{PATH}/{conversation}")
    assert {member.profile: member.salt for member in view.members} == {
        alice.profile: alice.privat.salt,
        bob.profile: bob.privat.salt,
    }
    assert {head.account: head.number for head in view.lists} == {alice.account: 2, bob.account: 2}
    assert {device.account for device in view.devices} == {alice.account, bob.account}
    devices = [device.device for device in view.devices]
    assert devices == sorted(device.id for device in (*alice.devices, *bob.devices))
    assert (view.head, view.roster_version) == (0, 1)


async def test_an_id_in_a_path_has_one_spelling(api: MemoryApi) -> None:
    """Upper case, other versions and the id of all zeros name nothing, as no body may hold them either."""
    conversation = await open_conversation(api.stores, alice, bob)
    client = DeviceClient(api, alice_phone)
    assert (await client.get(ConversationView, f"{PATH}/{conversation}")).conversation == conversation
    for text in (
        str(conversation).upper(),
        conversation.hex,
        str(UUID(int=0)),
        str(UUID(int=conversation.int ^ 1 << 78)),
    ):
        response = await api.ask("GET", f"{PATH}/{text}", by=alice_phone)
        assert refusal_of(response, 404) is RefusalCode.NOT_FOUND
        new = {"profile": text, "as_profile": str(alice.profile)}
        response = await api.ask("POST", f"{PATH}/{conversation}/members", by=alice_phone, json=new)
        assert refusal_of(response, 400) is RefusalCode.MALFORMED


async def test_the_list_is_paged_by_cursor(api: MemoryApi) -> None:
    """Following `next` meets every conversation once."""
    made = sorted([await open_conversation(api.stores, *people) for people in ([alice, bob], [alice, carol], [alice])])
    client = DeviceClient(api, alice_phone)
    first = await client.get(Conversations, PATH, limit=2)
    assert [row.conversation for row in first.conversations] == made[:2]
    assert first.next == made[1]
    last = await client.get(Conversations, PATH, limit=2, after=first.next)
    assert [row.conversation for row in last.conversations] == made[2:]
    assert last.next is None
    assert last.conversations[0].profiles == (alice.profile,)


def member_path(conversation: ConversationId, profile: ProfileId) -> str:
    """The path of one member."""
    return f"{PATH}/{conversation}/members/{profile}"


async def test_members_come_rise_and_go(api: MemoryApi) -> None:
    """The life of a group over HTTP; every step is announced."""
    conversation = await open_conversation(api.stores, alice, bob)
    client, acting = DeviceClient(api, alice_phone), {"as_profile": str(alice.profile)}
    body = {"profile": str(carol.profile), "role": "admin"} | acting
    added = await client.post(ConversationView, f"{PATH}/{conversation}/members", body)
    assert {member.profile: member.role for member in added.members}[carol.profile] is Role.ADMIN
    await DeviceClient(api, carol_phone).delete(member_path(conversation, bob.profile), as_profile=carol.profile)
    raised = await client.put(ConversationView, member_path(conversation, carol.profile), {"role": "owner"} | acting)
    assert {member.role for member in raised.members} == {Role.OWNER}
    await client.delete(member_path(conversation, alice.profile))
    refusal_of(await api.ask("GET", f"{PATH}/{conversation}", by=alice_phone), 404)
    assert api.bus.published == [MembershipChanged(conversation, version) for version in (2, 3, 4, 5)]


async def test_a_message_is_stored_once(api: MemoryApi) -> None:
    """The same client id again is answered with 200 and the same figures, and nothing is stored."""
    conversation = await open_conversation(api.stores, alice, bob)
    client, body = DeviceClient(api, alice_phone), new_message(conversation)
    stored = await client.post(MessageStored, "/v1/messages", body)
    assert (stored.seq, str(stored.client_id)) == (1, body["client_id"])
    api.clock.advance(1)
    assert await client.post(MessageStored, "/v1/messages", body, status=200) == stored
    assert (await client.post(MessageStored, "/v1/messages", new_message(conversation, 2))).seq == 2
    committed = [event for event in api.bus.published if isinstance(event, MessagesCommitted)]
    assert [event.head for event in committed] == [1, 1, 2]


async def test_a_group_message_is_one_ciphertext(api: MemoryApi) -> None:
    """A sender key needs one ciphertext for all."""
    conversation = await open_conversation(api.stores, alice, bob)
    body = new_message(conversation, devices=None, group="Z3JvdXA=")
    assert (await DeviceClient(api, alice_phone).post(MessageStored, "/v1/messages", body)).seq == 1
