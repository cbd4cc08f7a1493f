"""The cast keeps its promises: the same persons each time, honestly signed, and welcome in every store."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from simulation.stores import open_memory_stores
from tests import cast
from varde_contract import signed_statements
from varde_contract.device_list import decode_list, decode_signed_list
from varde_contract.talk import ConversationKind, Role

GEAR = [device for person in cast.PEOPLE for device in person.devices]


def test_the_cast_is_the_same_every_time() -> None:
    """A test that fails today fails tomorrow with the same ids: these never change."""
    assert str(cast.alice_phone.id) == "019b76da-a800-775b-b300-9d2ed741becf"
    assert len(GEAR) == 7
    assert len({device.id for device in GEAR} | {person.account for person in cast.PEOPLE}) == 12


@pytest.mark.parametrize("person", cast.PEOPLE, ids=repr)
def test_every_device_is_signed_by_its_owner(person: cast.Person) -> None:
    """Prekeys verify, so that a server that checks them takes the cast as it is."""
    for device in person.devices:
        signing = Ed25519PublicKey.from_public_bytes(device.model.signing_key)
        for prekey in device.one_time_keys():
            signing.verify(
                prekey.signature, signed_statements.one_time_key_statement(device.id, prekey.key, prekey.kem_key)
            )
        fallback = device.fallback_key()
        statement = signed_statements.fallback_key_statement(device.id, fallback.key, fallback.kem_key)
        signing.verify(fallback.signature, statement)


@pytest.mark.parametrize("device", GEAR, ids=repr)
def test_tokens_are_those_of_the_session(device: cast.CastDevice) -> None:
    """A token is account, session and a secret whose digest the session keeps."""
    for token, digest in (
        (device.access_token, device.session.access_digest),
        (device.refresh_token, device.session.refresh_digest),
    ):
        raw = base64.urlsafe_b64decode(token + "==")
        assert raw[:32] == device.model.account.bytes + device.session.id.bytes
        assert hashlib.sha256(raw[32:]).digest() == digest


async def test_the_cast_settles() -> None:
    """After `settle` every store knows the people, and their devices can be written to."""
    stores = open_memory_stores()
    await cast.settle(stores, cast.alice, cast.bob)
    account = await stores.accounts.find(cast.alice.account)
    assert account is not None
    newest = await stores.devices.newest_list(account.id)
    assert newest is not None
    assert (account.list_number, newest.number) == (2, 2)
    listed = decode_list(decode_signed_list(newest.signed).statement)
    assert listed.root_key == cast.alice.root_key
    assert {device.id for device in await stores.devices.list_all(cast.bob.account)} == {
        cast.bob_phone.id,
        cast.bob_laptop.id,
    }
    session = await stores.sessions.find(cast.alice.account, cast.alice_phone.session.id)
    assert session is not None
    assert session.device == cast.alice_phone.id
    assert await stores.prekeys.count(cast.alice.account, cast.alice_phone.id) == (cast.ONE_TIME_KEYS, True)


async def test_a_further_device_can_come_later() -> None:
    """`further_device` and `enrol` add a device that the conversations of its owner learn of."""
    stores = open_memory_stores()
    await cast.settle(stores, cast.alice, cast.bob)
    conversation = await cast.open_conversation(stores, cast.alice, cast.bob)
    tablet = cast.alice.further_device("tablet")
    await cast.enrol(stores, tablet)
    roster = (await stores.conversations.rosters([conversation]))[conversation]
    assert tablet.id in roster.devices
    assert roster.version == 2


@pytest.mark.parametrize("kind", ConversationKind)
async def test_conversations_are_as_the_roster_says(kind: ConversationKind) -> None:
    """The roster made without a store has the members and devices of the one that a store makes."""
    stores = open_memory_stores()
    await cast.settle(stores)
    people = {ConversationKind.SELF: (cast.alice,), ConversationKind.DM: (cast.bob, cast.alice)}.get(
        kind, (cast.carol, cast.alice, cast.bob)
    )
    conversation = await cast.open_conversation(stores, *people, kind=kind)
    stored = (await stores.conversations.rosters([conversation]))[conversation]
    made = cast.roster_of(*people, kind=kind)
    assert (stored.conversation, stored.kind, dict(stored.members)) == (conversation, kind, dict(made.members))
    assert {device for device, profiles in stored.devices.items() if profiles} == set(made.devices)
    owned = kind is not ConversationKind.DM
    assert (stored.members[people[0].profile].role is Role.OWNER) is owned
