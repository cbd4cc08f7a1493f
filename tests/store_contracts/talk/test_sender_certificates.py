"""The contract of looking up who wrote: a device, current or gone, for those who can have what it wrote."""

from msgspec.structs import replace

from domain.ports import Stores
from domain.talk import model as talk_model
from tests.cast import (
    BIRTH_MS,
    MANY,
    CastDevice,
    Person,
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_laptop,
    bob_phone,
    carol,
    carol_phone,
    mallory_phone,
    open_conversation,
    settle,
)
from tests.ids import id_of
from tests.store_contracts.messages import confirm, draft, send
from varde_contract.ids import ConversationId
from varde_contract.talk import Role

RETENTION_MS = 1_000
UNKNOWN = ConversationId(id_of(1))


def sender(person: Person, device: CastDevice) -> talk_model.SenderCertificate:
    """What is to be said of a device that wrote."""
    return talk_model.SenderCertificate(replace(device.model, profiles=()), person.root_key)


async def talk_of_two(stores: Stores) -> ConversationId:
    """Alice's phone has written to Bob."""
    await settle(stores, alice, bob, carol)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, draft(alice_phone, talk))
    return talk


async def test_a_current_device_that_wrote_is_found(stores: Stores) -> None:
    """Every device of the conversation finds it, the sender's own sibling too."""
    talk = await talk_of_two(stores)
    for reader in (bob_phone, bob_laptop, alice_laptop):
        assert await stores.conversations.sender(talk, alice_phone.id, reader.id) == sender(alice, alice_phone)


async def test_a_revoked_device_is_found(stores: Stores) -> None:
    """Its keys and signature outlive it, also when its message was delivered to the one who asks."""
    talk = await talk_of_two(stores)
    await stores.devices.revoke(alice.account, alice_phone.id, BIRTH_MS)
    await confirm(stores, talk, 1, bob_phone)
    for reader in (bob_phone, bob_laptop):
        assert await stores.conversations.sender(talk, alice_phone.id, reader.id) == sender(alice, alice_phone)
    assert await stores.devices.find(alice.account, alice_phone.id) is None


async def test_a_device_whose_account_left_is_found(stores: Stores) -> None:
    """Who left, and who left and was revoked after that, is still who wrote."""
    talk = await talk_of_two(stores)
    await stores.conversations.remove_member(talk, 1, alice.profile)
    assert await stores.conversations.sender(talk, alice_phone.id, bob_phone.id) == sender(alice, alice_phone)
    await stores.devices.revoke(alice.account, alice_phone.id, BIRTH_MS)
    assert await stores.conversations.sender(talk, alice_phone.id, bob_phone.id) == sender(alice, alice_phone)


async def test_a_device_that_wrote_nothing_is_not_found(stores: Stores) -> None:
    """Neither a silent member's, nor one that wrote elsewhere, nor an unknown one, current or revoked."""
    talk = await talk_of_two(stores)
    other = await open_conversation(stores, bob, carol)
    await send(stores, draft(carol_phone, other))
    for device in (alice_laptop, bob_laptop, carol_phone, mallory_phone):
        assert await stores.conversations.sender(talk, device.id, bob_phone.id) is None
    await stores.devices.revoke(alice.account, alice_laptop.id, BIRTH_MS)
    assert await stores.conversations.sender(talk, alice_laptop.id, bob_phone.id) is None


async def test_an_outsider_finds_nobody(stores: Stores) -> None:
    """Who was never in, who left, and whose device was revoked: none of them is told who wrote."""
    talk = await talk_of_two(stores)
    assert await stores.conversations.sender(talk, alice_phone.id, carol_phone.id) is None
    assert await stores.conversations.sender(UNKNOWN, alice_phone.id, bob_phone.id) is None
    await stores.devices.revoke(bob.account, bob_laptop.id, BIRTH_MS)
    assert await stores.conversations.sender(talk, alice_phone.id, bob_laptop.id) is None
    await stores.conversations.remove_member(talk, 2, bob.profile)
    assert await stores.conversations.sender(talk, alice_phone.id, bob_phone.id) is None


async def test_a_newcomer_finds_who_wrote_since(stores: Stores) -> None:
    """What came before them is not theirs to ask about; the next message of the same device is."""
    talk = await talk_of_two(stores)
    await send(stores, draft(alice_laptop, talk))
    await stores.conversations.add_member(talk, 1, (carol.profile, carol.account, Role.MEMBER), most=MANY)
    assert await stores.conversations.sender(talk, alice_phone.id, carol_phone.id) is None
    await send(stores, draft(alice_phone, talk, version=2))
    await send(stores, draft(alice_phone, talk, version=2, client=1))  # the lowest client id, the highest number
    assert await stores.conversations.sender(talk, alice_phone.id, carol_phone.id) == sender(alice, alice_phone)
    assert await stores.conversations.sender(talk, alice_laptop.id, carol_phone.id) is None


async def test_a_sender_goes_with_its_messages(stores: Stores) -> None:
    """As long as a message is in the log its sender is found, and no longer."""
    talk = await talk_of_two(stores)
    await stores.devices.revoke(alice.account, alice_phone.id, BIRTH_MS)
    await stores.retention.sweep(BIRTH_MS + 2 * RETENTION_MS - 1, retention_ms=RETENTION_MS, limit=MANY)
    assert await stores.conversations.sender(talk, alice_phone.id, bob_phone.id) == sender(alice, alice_phone)
    await stores.retention.sweep(BIRTH_MS + 2 * RETENTION_MS, retention_ms=RETENTION_MS, limit=MANY)
    assert await stores.conversations.sender(talk, alice_phone.id, bob_phone.id) is None
