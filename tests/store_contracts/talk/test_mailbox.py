"""The contract of the mailbox: what a device may read, and the positions that say what it has."""

import trio

from domain.ports import Stores
from domain.talk import model as talk_model
from tests.cast import (
    BIRTH_MS,
    CastDevice,
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_laptop,
    bob_phone,
    carol,
    carol_phone,
    mallory,
    mallory_phone,
    open_conversation,
    put_member,
    remove_member,
    revoke,
    set_profiles,
    settle,
)
from tests.ids import id_of
from tests.store_contracts.messages import confirm, draft, held, page_of, send
from varde_contract.ids import ConversationId

UNKNOWN = ConversationId(id_of(1))


async def test_each_request_has_its_page(stores: Stores) -> None:
    """Several requests, even the same, are answered in their order, with None where a device does not belong."""
    await settle(stores, alice, bob, mallory)
    talk, own = await open_conversation(stores, alice, bob), await open_conversation(stores, mallory)
    await send(stores, draft(alice_phone, talk), draft(mallory_phone, own))
    asked = [(bob_phone, talk), (mallory_phone, talk), (mallory_phone, own), (bob_phone, UNKNOWN), (bob_phone, talk)]
    pages = await stores.mailbox.read([talk_model.LogRequest(device.id, where, 1, 10, 1000) for device, where in asked])
    assert [page and page.conversation for page in pages] == [talk, None, own, None, talk]
    assert pages[0] == pages[4]
    assert await stores.mailbox.read([]) == []


async def test_a_device_has_the_group_ciphertext_and_its_own(stores: Stores) -> None:
    """Of each number a device has its own ciphertext or the group's, never another device's."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, draft(alice_phone, talk, bob_phone), draft(alice_phone, talk, bob_laptop, alice_laptop))
    await send(stores, draft(alice_phone, talk, sealed=b"group"))
    assert await held(stores, bob_phone, talk) == [1, 3]
    assert await held(stores, bob_laptop, talk) == [2, 3]
    assert await held(stores, alice_laptop, talk) == [2, 3]


async def test_a_device_does_not_have_its_own_messages(stores: Stores) -> None:
    """What a device sent itself is in its log without ciphertext, and who sent it can be seen."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, draft(alice_phone, talk), draft(bob_phone, talk))
    page = await page_of(stores, alice_phone, talk)
    assert [(entry.device, entry.ciphertext) for entry in page.entries] == [
        (alice_phone.id, None),
        (bob_phone.id, b"sealed"),
    ]


async def test_a_part_says_of_itself_that_it_is_for_others(stores: Stores) -> None:
    """Who is not named finds something empty, until everybody has confirmed the number; who is named their own."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, draft(alice_phone, talk, bob_phone, part=True), draft(alice_phone, talk, bob_laptop, part=True))

    async def seen(device: CastDevice) -> list[bytes | None]:
        return [entry.ciphertext for entry in (await page_of(stores, device, talk)).entries]

    assert await seen(bob_phone) == [b"sealed", b""]
    assert await seen(bob_laptop) == [b"", b"sealed"]
    assert await seen(alice_laptop) == [b"", b""]
    assert await seen(alice_phone) == [None, None]
    await confirm(stores, talk, 2, bob_phone, alice_laptop)
    assert await seen(bob_phone) == [b"", b""]  # its own is gone; the position says that it had it
    assert await seen(bob_laptop) == [b"", b"sealed"]
    await confirm(stores, talk, 2, bob_laptop)
    assert await seen(bob_laptop) == await seen(bob_phone) == [None, None]


async def test_a_part_counts_only_what_the_device_has(stores: Stores) -> None:
    """What is empty weighs nothing in a page."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, *(draft(alice_phone, talk, bob_phone, part=True) for _ in range(3)))
    assert len((await page_of(stores, bob_phone, talk, max_bytes=12)).entries) == 2
    assert len((await page_of(stores, bob_laptop, talk, max_bytes=0)).entries) == 3


async def test_a_page_ends_with_its_limit(stores: Stores) -> None:
    """A page has so many entries at most, and says where the next one starts; the last one ends behind the head."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, *(draft(alice_phone, talk) for _ in range(5)))
    pages, start = [], 1
    while start <= 5:
        page = await page_of(stores, bob_phone, talk, start, limit=2)
        pages.append([entry.seq for entry in page.entries])
        assert (page.from_seq, page.head) == (start, 5)
        start = page.next_seq
    assert pages == [[1, 2], [3, 4], [5]]
    assert start == 6
    beyond = await page_of(stores, bob_phone, talk, 6)
    assert (beyond.entries, beyond.next_seq) == ((), 6)


async def test_a_page_ends_with_its_bytes(stores: Stores) -> None:
    """A page has ciphertext of so many bytes at most, but always one entry; what it cannot have weighs nothing."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    sizes = (40, 60, 1, 500, 10)
    await send(stores, *(draft(alice_phone, talk, sealed=b"x" * size) for size in sizes))
    pages, start = [], 1
    while start <= 5:
        page = await page_of(stores, bob_phone, talk, start, max_bytes=100)
        pages.append([entry.seq for entry in page.entries])
        start = page.next_seq
    assert pages == [[1, 2], [3], [4], [5]]
    assert len((await page_of(stores, alice_phone, talk, max_bytes=0)).entries) == 5


async def test_confirming_moves_a_position_forward_only(stores: Stores) -> None:
    """A position goes up, to the head at most, and never down; only what moved is returned, with where to."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, *(draft(alice_phone, talk) for _ in range(5)))

    async def to(upto: int) -> list[int]:
        return [each.upto for each in await stores.mailbox.confirm([talk_model.Confirmation(talk, bob_phone.id, upto)])]

    assert [await to(upto) for upto in (2, 2, 1, 0, 4, 99, 99)] == [[2], [], [], [], [4], [5], []]
    assert (await page_of(stores, bob_phone, talk)).upto == 5


async def test_confirmations_of_one_device_in_a_batch_are_one(stores: Stores) -> None:
    """Several confirmations of a device in one conversation move it once, to the highest."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, *(draft(alice_phone, talk) for _ in range(5)))
    moved = await stores.mailbox.confirm(
        [
            *(talk_model.Confirmation(talk, bob_phone.id, upto) for upto in (1, 3, 2)),
            talk_model.Confirmation(talk, alice_laptop.id, 1),
            talk_model.Confirmation(talk, mallory_phone.id, 3),
            talk_model.Confirmation(UNKNOWN, bob_phone.id, 3),
        ]
    )
    assert moved == [talk_model.Confirmation(talk, bob_phone.id, 3), talk_model.Confirmation(talk, alice_laptop.id, 1)]
    assert await stores.mailbox.confirm([]) == []


async def test_many_confirmations_at_once_are_all_made(stores: Stores) -> None:
    """A batch of more confirmations than fit one transaction is made whole."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, draft(alice_phone, talk))
    strangers = [talk_model.Confirmation(ConversationId(id_of(number)), bob_phone.id, 1) for number in range(1200)]
    mine = talk_model.Confirmation(talk, bob_phone.id, 1)
    assert await stores.mailbox.confirm([*strangers[:600], mine, *strangers[600:]]) == [mine]


async def test_a_device_s_own_ciphertext_goes_when_it_confirms(stores: Stores) -> None:
    """What was sealed for one device is deleted when that device has it, and that of other devices is not."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, *(draft(alice_phone, talk, bob_phone, bob_laptop) for _ in range(3)))
    await confirm(stores, talk, 2, bob_phone)
    assert await held(stores, bob_phone, talk) == [3]
    assert await held(stores, bob_laptop, talk) == [1, 2, 3]


async def test_a_group_s_ciphertext_goes_when_the_last_other_device_confirms(stores: Stores) -> None:
    """What was sealed for all stays while a device waits for it; the sending device is not waited for."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, draft(alice_phone, talk), draft(bob_phone, talk), draft(alice_phone, talk))
    for device in (alice_laptop, bob_phone):
        await confirm(stores, talk, 3, device)
    assert await held(stores, bob_phone, talk) == [1, 3]
    await confirm(stores, talk, 2, bob_laptop)
    assert await held(stores, bob_phone, talk) == [3]
    assert await held(stores, alice_laptop, talk) == [2, 3]
    await confirm(stores, talk, 3, alice_phone)
    assert await held(stores, alice_laptop, talk) == [3]
    await confirm(stores, talk, 3, bob_laptop)
    assert await held(stores, bob_phone, talk) == []


async def test_a_group_s_ciphertext_goes_when_the_last_two_confirm_at_once(nodes: tuple[Stores, Stores]) -> None:
    """However the last confirmations meet, over two nodes, nothing of the group's ciphertext is left behind."""
    await settle(nodes[0], alice, bob, carol)
    talk = await open_conversation(nodes[0], alice, bob, carol)
    device = (alice_laptop, *bob.devices, carol_phone)
    for upto in range(1, 31):
        await send(nodes[0], draft(alice_phone, talk))
        async with trio.open_nursery() as nursery:
            for number, each in enumerate(device):
                nursery.start_soon(confirm, nodes[number % 2], talk, upto, each)
    assert await held(nodes[0], bob_phone, talk) == []


async def test_a_group_s_ciphertext_goes_when_who_it_waits_for_goes(stores: Stores) -> None:
    """What only a revoked device or a removed member had not confirmed is deleted with them."""
    await settle(stores, alice, bob, carol)
    talk = await open_conversation(stores, alice, bob, carol)
    await send(stores, *(draft(alice_phone, talk) for _ in range(3)))
    await confirm(stores, talk, 3, alice_laptop, bob_phone)
    await confirm(stores, talk, 2, bob_laptop)
    await confirm(stores, talk, 1, carol_phone)
    assert await held(stores, bob_phone, talk) == [2, 3]
    await remove_member(stores, talk, carol)
    assert await held(stores, bob_phone, talk) == [3]
    await revoke(stores, bob.account, bob_laptop.id, BIRTH_MS)
    assert await held(stores, bob_phone, talk) == []


async def test_a_device_that_is_gone_leaves_no_ciphertext(stores: Stores) -> None:
    """What waited for a revoked device is gone: were its id to return, it would find nothing."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, draft(alice_phone, talk, bob_phone, bob_laptop))
    await set_profiles(stores, bob.account, bob_phone.id, [bob.jobb.id], BIRTH_MS)
    await set_profiles(stores, bob.account, bob_phone.id, [bob.profile], BIRTH_MS)
    assert await held(stores, bob_phone, talk) == []
    assert await held(stores, bob_laptop, talk) == [1]


async def test_a_late_member_is_waited_for_from_then_on(stores: Stores) -> None:
    """A new member does not hold up what was said before it, and does hold up what comes after."""
    await settle(stores, alice, bob, carol)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, draft(alice_phone, talk))
    await put_member(stores, talk, carol)
    await send(stores, draft(alice_phone, talk, version=2))
    await confirm(stores, talk, 2, alice_laptop, bob_phone, bob_laptop)
    assert await held(stores, bob_phone, talk) == [2]
    await confirm(stores, talk, 2, carol_phone)
    assert await held(stores, bob_phone, talk) == []


async def test_a_conversation_with_oneself_keeps_what_the_others_wait_for(stores: Stores) -> None:
    """A single device has nobody to wait for it; with a second one its messages wait for that."""
    await settle(stores, alice, mallory)
    own, notes = await open_conversation(stores, mallory), await open_conversation(stores, alice)
    await send(stores, draft(mallory_phone, own), draft(alice_phone, notes))
    assert await confirm(stores, own, 1, mallory_phone) == [mallory_phone.id]
    assert await held(stores, alice_laptop, notes) == [1]


async def test_read_positions_move_forward_only(stores: Stores) -> None:
    """Marks count one after the other: each that is further than those before, and not beyond the head, moves."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, *(draft(alice_phone, talk) for _ in range(5)))
    marks = [(talk, bob.profile, upto) for upto in (2, 1, 2, 4, 6, 3)]
    assert await stores.mailbox.mark_read(marks) == [0, 3]
    assert await stores.mailbox.mark_read([(talk, bob.profile, 4), (talk, bob.profile, 5)]) == [1]
    assert await stores.mailbox.mark_read([]) == []


async def test_only_members_have_read_positions(stores: Stores) -> None:
    """A mark of a profile that is no member, or in a conversation that is not there, moves nothing."""
    await settle(stores, alice, bob, mallory)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, draft(alice_phone, talk))
    marks = [(talk, mallory.profile, 1), (UNKNOWN, bob.profile, 1), (talk, bob.jobb.id, 1), (talk, bob.profile, 1)]
    assert await stores.mailbox.mark_read(marks) == [3]


async def test_a_member_who_comes_back_has_read_nothing(stores: Stores) -> None:
    """A read position goes with the membership."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, draft(alice_phone, talk))
    await stores.mailbox.mark_read([(talk, bob.profile, 1)])
    await remove_member(stores, talk, bob)
    await put_member(stores, talk, bob)
    assert await stores.mailbox.mark_read([(talk, bob.profile, 1)]) == [0]
