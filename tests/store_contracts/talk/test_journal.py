"""The contract of the journal: numbers without holes, each message once, only at the roster decided upon."""

import trio
from msgspec.structs import replace

from domain.ports import Stores
from domain.talk import model as talk_model
from tests.cast import (
    BIRTH_MS,
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_laptop,
    bob_phone,
    carol,
    dave,
    mallory_phone,
    open_conversation,
    revoke,
    settle,
)
from tests.ids import id_of
from tests.store_contracts.messages import client_id, draft, page_of, send
from varde_contract.ids import ConversationId, MessageId

MOVED = talk_model.RosterOutdated()


def stored(draft: talk_model.Draft, seq: int, *, duplicate: bool = False) -> talk_model.Committed:
    """The answer to this draft under this number."""
    return talk_model.Committed(draft.message, seq, draft.sent_ms, duplicate)


async def test_an_empty_batch_is_answered(stores: Stores) -> None:
    """Nothing in, nothing out."""
    assert await stores.journal.commit([]) == []


async def test_drafts_are_numbered_in_the_order_given(stores: Stores) -> None:
    """Each conversation has its own numbers, from 1, in the order of the batch; the next batch goes on."""
    await settle(stores, alice, bob, carol)
    one, two = await open_conversation(stores, alice, bob), await open_conversation(stores, alice, carol)
    drafts = [draft(alice_phone, talk, sent_ms=BIRTH_MS + at) for at, talk in enumerate((one, two, one, one, two))]
    answers = await stores.journal.commit(drafts)
    assert answers == [stored(each, seq) for each, seq in zip(drafts, (1, 1, 2, 3, 2), strict=True)]
    later = draft(bob_phone, one)
    assert await stores.journal.commit([later]) == [stored(later, 4)]


async def test_what_is_stored_is_what_was_drafted(stores: Stores) -> None:
    """Every field of a message and every byte of its ciphertexts come back as they were given."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    largest = bytes(range(256)) * 192
    parts = {alice_laptop.id: b"\0", bob_phone.id: largest, bob_laptop.id: b"@plain\xff"}
    sent = replace(draft(alice_phone, talk, bob_phone, sent_ms=BIRTH_MS + 5), devices=parts)
    await send(stores, sent)
    for device in (alice_laptop, bob_phone, bob_laptop):
        (entry,) = (await page_of(stores, device, talk)).entries
        assert entry == talk_model.LogEntry(
            1, sent.message, sent.client_id, alice.profile, alice_phone.id, BIRTH_MS + 5, parts[device.id]
        )


async def test_the_same_client_id_again_answers_as_the_first(stores: Stores) -> None:
    """A message sent again is not stored again: number, id and time are those of the first."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    first = draft(alice_phone, talk, client=7)
    await send(stores, first)
    again = draft(alice_phone, talk, client=7, sent_ms=BIRTH_MS + 99, sealed=b"other")
    assert await stores.journal.commit([again]) == [stored(first, 1, duplicate=True)]
    page = await page_of(stores, bob_phone, talk)
    assert [entry.ciphertext for entry in page.entries] == [b"sealed"]
    assert page.head == 1


async def test_the_same_client_id_twice_in_a_batch_is_stored_once(stores: Stores) -> None:
    """Within a batch the first one is stored, in its place, and the others are its duplicates."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    first, between, last = (draft(alice_phone, talk, client=client) for client in (7, 8, 9))
    again = draft(alice_phone, talk, client=7, sealed=b"other")
    answers = await stores.journal.commit([first, between, again, last, again])
    duplicate = stored(first, 1, duplicate=True)
    assert answers == [stored(first, 1), stored(between, 2), duplicate, stored(last, 3), duplicate]
    assert (await page_of(stores, bob_phone, talk)).head == 3


async def test_a_client_id_is_of_one_device_in_one_conversation(stores: Stores) -> None:
    """Two devices, or one device in two conversations, may use the same client id."""
    await settle(stores, alice, bob, carol)
    one, two = await open_conversation(stores, alice, bob), await open_conversation(stores, alice, carol)
    drafts = [
        draft(device, talk, client=7) for device, talk in ((alice_phone, one), (alice_laptop, one), (alice_phone, two))
    ]
    assert await stores.journal.commit(drafts) == [
        stored(each, seq) for each, seq in zip(drafts, (1, 2, 1), strict=True)
    ]


async def test_a_draft_on_an_old_roster_is_not_stored(stores: Stores) -> None:
    """Where the roster moved nothing is stored and no number used; other drafts of the batch are not held up."""
    await settle(stores, alice, bob, carol)
    moved, still = await open_conversation(stores, alice, bob), await open_conversation(stores, alice, carol)
    await revoke(stores, bob.account, bob_laptop.id, BIRTH_MS)
    drafts = [
        draft(alice_phone, moved, version=1),
        draft(alice_phone, still, version=1),
        draft(alice_phone, moved, version=2),
        draft(alice_phone, moved, version=3),
    ]
    assert await stores.journal.commit(drafts) == [MOVED, stored(drafts[1], 1), stored(drafts[2], 1), MOVED]
    assert (await page_of(stores, bob_phone, moved)).head == 1


async def test_an_unknown_conversation_has_no_roster_to_be_at(stores: Stores) -> None:
    """Nothing is stored where there is no conversation."""
    await settle(stores, alice, bob)
    unknown = ConversationId(id_of(1))
    assert await stores.journal.commit([draft(mallory_phone, unknown, version=0)]) == [MOVED]
    assert await stores.conversations.rosters([unknown]) == {}


async def test_what_is_stored_already_stays_acknowledged_when_the_roster_moves(stores: Stores) -> None:
    """A message sent again after the roster moved is acknowledged as the first one was, whatever it was decided on."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    first = draft(alice_phone, talk, client=7)
    await send(stores, first)
    await revoke(stores, bob.account, bob_laptop.id, BIRTH_MS)
    again = [draft(alice_phone, talk, client=7, version=version) for version in (1, 2)]
    assert await stores.journal.commit(again) == [stored(first, 1, duplicate=True)] * 2


async def test_what_is_stored_is_found_by_its_client_id(stores: Stores) -> None:
    """By conversation, device and client id together, whatever became of the roster; each key has its own answer."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    first, second = draft(alice_phone, talk, client=7), draft(alice_phone, talk, bob_phone, client=8)
    await send(stores, first, second)
    await revoke(stores, alice.account, alice_phone.id, BIRTH_MS)
    keys = [
        talk_model.SendKey(talk, alice_phone.id, client_id(8)),
        talk_model.SendKey(talk, bob_phone.id, client_id(7)),
        talk_model.SendKey(talk, alice_phone.id, client_id(9)),
        talk_model.SendKey(ConversationId(id_of(1)), alice_phone.id, client_id(7)),
        talk_model.SendKey(talk, alice_phone.id, client_id(7)),
        talk_model.SendKey(talk, alice_phone.id, client_id(8)),
    ]
    one, two = stored(first, 1, duplicate=True), stored(second, 2, duplicate=True)
    assert await stores.journal.find_committed(keys) == [two, None, None, None, one, two]
    assert await stores.journal.find_committed([]) == []


async def test_an_old_and_a_new_decision_on_one_message_store_the_new(stores: Stores) -> None:
    """Of the same client id twice in a batch only the one at the roster's version can be stored; both answer as it."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    stale, good = (draft(alice_phone, talk, client=7, version=version) for version in (0, 1))
    assert await stores.journal.commit([stale, good]) == [stored(good, 1, duplicate=True), stored(good, 1)]


async def test_two_journals_number_one_conversation_without_holes(nodes: tuple[Stores, Stores]) -> None:
    """Two nodes that commit batches to the same conversations at once use every number once; each keeps its order."""
    await settle(nodes[0], alice, bob, carol, dave)
    talks = [await open_conversation(nodes[0], *people) for people in ((alice, bob), (alice, carol), (alice, dave))]
    seqs: dict[tuple[int, ConversationId], list[int]] = {}

    async def write(node: int) -> None:
        device = alice.devices[node]
        for _ in range(10):
            drafts = [draft(device, talk) for talk in (*talks, *reversed(talks))]
            for each, answer in zip(drafts, await send(nodes[node], *drafts), strict=True):
                seqs.setdefault((node, each.conversation), []).append(answer.seq)

    async with trio.open_nursery() as nursery:
        for node in range(2):
            nursery.start_soon(write, node)
    for talk in talks:
        mine, theirs = seqs[0, talk], seqs[1, talk]
        assert mine == sorted(mine)
        assert theirs == sorted(theirs)
        assert sorted(mine + theirs) == list(range(1, 41))


async def test_the_same_messages_over_two_nodes_are_stored_once(nodes: tuple[Stores, Stores]) -> None:
    """A device that sends again over another node, while the first one still commits, gets one and the same answer."""
    await settle(nodes[0], alice, bob, carol)
    talks = [await open_conversation(nodes[0], *people) for people in ((alice, bob), (alice, carol))]
    answers: list[set[tuple[MessageId, int, int]]] = []

    async def write(stores: Stores, order: int) -> None:
        drafts = [draft(alice_phone, talk, client=client) for client in range(25) for talk in talks[::order]]
        answers.append({(each.message, each.seq, each.sent_ms) for each in await send(stores, *drafts)})

    for _ in range(3):
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(write, nodes[number % 2], 1 if number < 2 else -1)
    assert all(some == answers[0] for some in answers)
    assert len(answers[0]) == 50
    for talk in talks:
        page = await page_of(nodes[1], bob_phone if talk == talks[0] else carol.devices[0], talk)
        assert {entry.client_id for entry in page.entries} == {client_id(client) for client in range(25)}
        assert [entry.seq for entry in page.entries] == list(range(1, 26))


async def test_a_large_batch_is_one_commit(stores: Stores) -> None:
    """A batch of hundreds, in one conversation and in many, is stored whole."""
    await settle(stores, alice, bob, carol, dave)
    talks = [
        await open_conversation(stores, alice, *others) for others in ((bob,), (carol,), (dave,), (bob, carol, dave))
    ]
    drafts = [draft(alice_phone, talks[number % 4], alice_laptop) for number in range(600)]
    answers = await send(stores, *drafts)
    assert [each.message for each in answers] == [each.message for each in drafts]
    assert [each.seq for each in answers] == [1 + number // 4 for number in range(600)]
