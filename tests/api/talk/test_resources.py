"""Conversations, members and messages over HTTP: what is allowed arrives, and changes are announced."""

from base64 import b64encode
from uuid import UUID

from domain.talk.events import MessagesCommitted
from tests.api.bodies import new_message, statements
from tests.api.memory_api import DeviceClient, MemoryApi, refusal_of
from tests.cast import (
    Person,
    alice,
    alice_phone,
    bob,
    bob_phone,
    carol,
    carol_phone,
    open_conversation,
)
from tests.chains import CastSigner, Chain, opening
from varde.clock import fresh_id
from varde_contract import membership_statements as s
from varde_contract.ids import ConversationId
from varde_contract.refusals import RefusalCode
from varde_contract.rest.talk import (
    Blocks,
    ChainHead,
    Conversations,
    ConversationView,
    InvitationView,
    MessageStored,
    Requests,
    Statements,
    StatementsStored,
)
from varde_contract.talk import ConversationKind

PATH = "/v1/conversations"


ALICE, BOB, CAROL = (CastSigner(each) for each in (alice_phone, bob_phone, carol_phone))


async def begun(api: MemoryApi, kind: ConversationKind, *invited: Person) -> Chain:
    """A conversation that Alice's phone has opened over HTTP."""
    chain = opening(ALICE, kind, *invited)
    made = await DeviceClient(api, alice_phone).post(ConversationView, PATH, statements(*chain.signed))
    assert (made.conversation, made.kind) == (chain.conversation, kind)
    assert made.chain == ChainHead(chain.now.number, chain.now.head)
    return chain


async def test_a_dm_is_opened_once(api: MemoryApi) -> None:
    """The second time, from either side, it is the one that is there, also while it waits to be accepted."""
    chain = await begun(api, ConversationKind.DM, bob)
    back = opening(BOB, ConversationKind.DM, alice, conversation=ConversationId(fresh_id()))
    view = await DeviceClient(api, bob_phone).post(ConversationView, PATH, statements(*back.signed), status=200)
    assert view.conversation == chain.conversation
    assert {member.profile for member in view.members} == {alice.profile}


async def test_who_is_asked_reads_why_and_answers(api: MemoryApi) -> None:
    """The request, the statements that prove it, and the acceptance."""
    chain = await begun(api, ConversationKind.GROUP, bob)
    client, path = DeviceClient(api, bob_phone), f"{PATH}/{chain.conversation}/statements"
    (asked,) = (await client.get(Requests, "/v1/requests")).invitations
    assert asked == InvitationView(chain.conversation, ConversationKind.GROUP, bob.profile)
    page = (await client.get(Statements, path)).statements
    assert [(each.number, each.seq, each.signed, each.state) for each in page] == [
        (0, 1, chain.signed[0], None),
        (1, 2, chain.signed[1], None),
    ]
    rest = (await client.get(Statements, path, **{"from": 1})).statements
    assert rest == page[1:]
    assert (await client.get(Statements, path, holds=1)).statements == page
    chain.say(BOB, s.Accept, None)
    assert (await client.post(StatementsStored, path, statements(chain.signed[-1]))).seqs == (3,)
    assert (await client.get(Requests, "/v1/requests")).invitations == ()
    view = await client.get(ConversationView, f"{PATH}/{chain.conversation}")
    assert {member.profile for member in view.members} == {alice.profile, bob.profile}
    assert view.chain == ChainHead(2, chain.now.head)


async def test_an_invitation_has_words(api: MemoryApi) -> None:
    """Those said last, for each device of who is asked; without an invitation there are none."""
    chain = await begun(api, ConversationKind.GROUP, bob)
    path = f"{PATH}/{chain.conversation}/words"
    for said in (b"hello", b"hello again"):
        words = {
            "client_id": str(fresh_id()),
            "profile": str(alice.profile),
            "devices": {str(bob_phone.id): b64encode(said).decode()},
        }
        done = await api.ask("PUT", f"{path}/{bob.profile}", by=alice_phone, json=words)
        assert (done.status_code, done.content) == (204, b""), done.text
        (asked,) = (await DeviceClient(api, bob_phone).get(Requests, "/v1/requests")).invitations
        assert asked.words is not None
        assert (asked.words.device, asked.words.ciphertext) == (alice_phone.id, said)
    nobody = await api.ask("PUT", f"{path}/{carol.profile}", by=alice_phone, json=words)
    assert refusal_of(nobody, 404) is RefusalCode.NOT_FOUND


async def test_who_is_blocked_is_listed_until_it_is_not(api: MemoryApi) -> None:
    """What a blocked account asks is not shown, and is again afterwards; nobody blocks itself."""
    await begun(api, ConversationKind.GROUP, bob)
    client = DeviceClient(api, bob_phone)
    done = await api.ask("PUT", f"/v1/blocks/{alice.account}", by=bob_phone)
    assert (done.status_code, done.content) == (204, b""), done.text
    assert [each.account for each in (await client.get(Blocks, "/v1/blocks")).blocks] == [alice.account]
    assert (await client.get(Requests, "/v1/requests")).invitations == ()
    await client.delete(f"/v1/blocks/{alice.account}")
    assert (await client.get(Blocks, "/v1/blocks")).blocks == ()
    assert len((await client.get(Requests, "/v1/requests")).invitations) == 1
    oneself = await api.ask("PUT", f"/v1/blocks/{bob.account}", by=bob_phone)
    assert refusal_of(oneself, 403) is RefusalCode.NOT_ALLOWED


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
        response = await api.ask("GET", f"{PATH}/{text}/statements", by=alice_phone)
        assert refusal_of(response, 404) is RefusalCode.NOT_FOUND


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
