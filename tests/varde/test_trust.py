"""Whom a device believes: rosters that hold against the accounts' own device lists."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tests.cast import (
    alice,
    alice_laptop,
    bob,
    bob_laptop,
    bob_phone,
    carol,
    carol_phone,
    mallory,
    mallory_phone,
    salt_of,
)
from tests.ids import id_of
from tests.varde.endpoints import Endpoint, SimulatedConversation, endpoint
from varde.crypto.root_key import new_phrase, root_key_of, safety_number
from varde.errors import ListRollback, UntrustedDevice, UpdateNeeded, WrongPhrase
from varde.store.people import PinnedProfile
from varde_contract.ids import AccountId
from varde_contract.membership_statements import Invite
from varde_contract.rest.talk import ConversationView, MemberView, RosterDevice
from varde_contract.talk import ConversationKind, Role

# The 24 words of zero entropy in the BIP 39 list: public, and nobody's.
ABANDON = " ".join(["abandon"] * 23 + ["art"])


def take(reader: Endpoint, view: ConversationView) -> None:
    """Let somebody judge a roster."""
    with reader.store.transaction():
        reader.keychain.trust.accept_roster(view)


def test_a_refused_roster_pins_nothing() -> None:
    """What a roster that does not hold says of others is not believed either."""
    reader, bobs, carols = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    talk = SimulatedConversation(ConversationKind.GROUP, reader, bobs, carols)
    reader.learn(*talk.accounts)
    bent = tuple(replace(device, account=alice.account) for device in talk.view.devices)
    with pytest.raises(UntrustedDevice):
        take(reader, replace(talk.view, devices=bent))
    assert reader.store.pins.profile(bob.profile) is None


def test_a_member_without_its_list_is_refused() -> None:
    """What nobody fetched and verified proves nothing; nor does a view that leaves a list out."""
    reader, bobs = endpoint(alice_laptop), endpoint(bob_phone)
    talk = SimulatedConversation(ConversationKind.DM, reader, bobs)
    talk.prove(reader)
    reader.learn(reader.account)
    with pytest.raises(ListRollback):
        take(reader, talk.view)
    reader.learn(bobs.account)
    with pytest.raises(ListRollback):
        take(reader, replace(talk.view, lists=talk.view.lists[:1]))
    take(reader, talk.view)


def test_a_device_more_under_the_same_version_is_refused() -> None:
    """Finding 2: a roster of equal version with one more device, even one that its account's list proves."""
    reader, bobs, spare = endpoint(alice_laptop), endpoint(bob_phone), endpoint(bob_laptop)
    talk = SimulatedConversation(ConversationKind.GROUP, reader, bobs)
    talk.verify_everywhere()
    talk.endpoints.append(spare)
    with pytest.raises(UntrustedDevice, match="without a new version"):
        take(reader, talk.view)
    talk.version += 1
    take(reader, talk.view)


def test_a_device_that_was_revoked_is_not_listed_again() -> None:
    """The server and whoever holds a revoked device cannot bring it back: the newest list does not have it."""
    reader, bobs, stolen = endpoint(alice_laptop), endpoint(bob_phone), endpoint(bob_laptop)
    talk = SimulatedConversation(ConversationKind.GROUP, reader, bobs, stolen)
    talk.verify_everywhere()
    talk.remove(stolen)
    talk.verify_everywhere()
    talk.endpoints.append(stolen)
    talk.version += 1
    with pytest.raises(UntrustedDevice):
        take(reader, talk.view)


def test_a_whitelist_is_the_owners_word() -> None:
    """The server cannot make a person's device receive for another of that person's profiles."""
    reader, bobs = endpoint(alice_laptop), endpoint(bob_phone)
    talk = SimulatedConversation(ConversationKind.GROUP, reader, bobs)
    talk.prove(reader)
    reader.learn(*talk.accounts)
    jobb = MemberView(bob.jobb.id, bob.account, Role.MEMBER, bob.jobb.salt)
    devices = tuple(
        replace(each, profiles=(bob.jobb.id,)) if each.account == bob.account else each for each in talk.view.devices
    )
    with pytest.raises(UntrustedDevice):
        take(reader, replace(talk.view, members=(*talk.view.members, jobb), devices=devices))


def test_a_device_whose_time_is_over_is_not_written_to() -> None:
    """Nothing is encrypted for it, a few minutes later at the latest, whatever the server says."""
    reader, bobs = endpoint(alice_laptop), endpoint(bob_phone)
    talk = SimulatedConversation(ConversationKind.GROUP, reader, bobs)
    talk.prove(reader)
    bobs.account.put([replace(bobs.listed, valid_until_ms=1_000)])
    reader.learn(*talk.accounts)
    with pytest.raises(UntrustedDevice):
        take(reader, talk.view)
    bobs.account.put([replace(bobs.listed, valid_until_ms=2**50)])
    reader.learn(*talk.accounts)
    take(reader, talk.view)


def test_what_the_server_withholds_is_found() -> None:
    """A device that a member's list proves and the roster leaves out is named; nothing is lost by that."""
    reader, bobs, spare = endpoint(alice_laptop), endpoint(bob_phone), endpoint(bob_laptop)
    talk = SimulatedConversation(ConversationKind.GROUP, reader, bobs, spare)
    talk.prove(reader)
    reader.learn(*talk.accounts)
    view = replace(talk.view, devices=talk.view.devices[:2])
    with reader.store.transaction():
        assert reader.keychain.trust.accept_roster(view) == (spare.id,)
    assert reader.keychain.peers(view).keys() == {bobs.id}


def with_ghost(view: ConversationView, ghost: Endpoint) -> ConversationView:
    """A device that the server slipped in for bob, of somebody else."""
    return replace(view, devices=(*view.devices, RosterDevice(ghost.id, mallory.account, (bob.profile,))))


def with_ghost_under_bobs_name(view: ConversationView, ghost: Endpoint) -> ConversationView:
    """The same, as if it were of bob's account."""
    return replace(view, devices=(*view.devices, RosterDevice(ghost.id, bob.account, (bob.profile,))))


def with_device_of_nobody(view: ConversationView, _: Endpoint) -> ConversationView:
    """A device that receives for nobody."""
    return replace(view, devices=tuple(replace(device, profiles=()) for device in view.devices))


def with_other_salt(view: ConversationView, _: Endpoint) -> ConversationView:
    """Bob's profile with a salt that opens none of his commitments."""
    return replace(view, members=tuple(replace(member, salt=bytes(32)) for member in view.members))


def with_stolen_profile(view: ConversationView, ghost: Endpoint) -> ConversationView:
    """Bob's profile as if it were mallory's."""
    members = tuple(
        MemberView(bob.profile, mallory.account, Role.MEMBER, bob.privat.salt) if m.account == bob.account else m
        for m in view.members
    )
    devices = (RosterDevice(ghost.id, mallory.account, (bob.profile,)),)
    return replace(view, members=members, devices=devices)


@pytest.mark.parametrize(
    "bend", [with_ghost, with_ghost_under_bobs_name, with_device_of_nobody, with_other_salt, with_stolen_profile]
)
def test_nobody_can_be_slipped_in(bend: Callable[[ConversationView, Endpoint], ConversationView]) -> None:
    """A roster with a device, a key or an owner that no root key vouches for is refused as a whole."""
    reader, bobs, ghost = endpoint(alice_laptop), endpoint(bob_phone), endpoint(mallory_phone)
    talk = SimulatedConversation(ConversationKind.GROUP, reader, bobs)
    talk.verify_everywhere()
    talk.version += 1
    with pytest.raises((ListRollback, UntrustedDevice)):
        take(reader, bend(talk.view, ghost))


def with_member(view: ConversationView, other: Endpoint) -> ConversationView:
    """Somebody whom no statement names, with a device and everything that belongs to it."""
    person = other.person
    member = MemberView(person.profile, person.account, Role.MEMBER, salt_of(person.profile))
    device = RosterDevice(other.id, person.account, (person.profile,))
    return replace(
        view,
        members=(*view.members, member),
        lists=(*view.lists, other.account.head),
        devices=(*view.devices, device),
    )


@pytest.mark.parametrize("kind", ConversationKind)
def test_nobody_is_a_member_without_a_statement(kind: ConversationKind) -> None:
    """A server that names one more is not believed, in a group as in a dm, nor is one that gives a role."""
    reader, stranger = endpoint(alice_laptop), endpoint(mallory_phone)
    talk = SimulatedConversation(kind, reader) if kind is ConversationKind.SELF else conversation_of_two(kind, reader)
    talk.verify_everywhere()
    before = reader.store.conversations.roster(talk.conversation)
    for version in (talk.version, talk.version + 1):
        lie = replace(with_member(talk.view, stranger), roster_version=version)
        with pytest.raises(UntrustedDevice):
            take(reader, lie)
    promoted = tuple(replace(member, role=Role.ADMIN) for member in talk.view.members)
    with pytest.raises(UntrustedDevice):
        take(reader, replace(talk.view, members=promoted))
    assert reader.store.conversations.roster(talk.conversation) == before


def conversation_of_two(kind: ConversationKind, reader: Endpoint) -> SimulatedConversation:
    """Alice and Bob."""
    return SimulatedConversation(kind, reader, endpoint(bob_phone))


def test_who_is_only_invited_is_no_member() -> None:
    """Nothing is encrypted for somebody before they have said themselves that they want it."""
    reader = endpoint(alice_laptop)
    talk = conversation_of_two(ConversationKind.GROUP, reader)
    talk.chain.say(reader, Invite, carol.profile, carol.account, Role.MEMBER)
    talk.verify_everywhere()
    with pytest.raises(UntrustedDevice):
        take(reader, with_member(talk.view, endpoint(carol_phone)))


def test_without_a_chain_nobody_is_a_member() -> None:
    """A roster alone is the server's word."""
    reader = endpoint(alice_laptop)
    with pytest.raises(UntrustedDevice):
        take(reader, conversation_of_two(ConversationKind.DM, reader).view)


def test_the_kind_is_what_the_creation_says() -> None:
    """A dm is never taken for a group, whatever the server calls it: then others could be added later."""
    reader = endpoint(alice_laptop)
    talk = conversation_of_two(ConversationKind.DM, reader)
    talk.prove(reader)
    with pytest.raises(UntrustedDevice):
        take(reader, replace(talk.view, kind=ConversationKind.GROUP))


def test_a_statement_that_is_not_known_stops_sending() -> None:
    """It may mean to keep somebody out; an update knows."""
    reader = endpoint(alice_laptop)
    talk = conversation_of_two(ConversationKind.GROUP, reader)
    talk.verify_everywhere()
    with reader.store.transaction():
        chain = reader.store.chains.find(talk.conversation)
        assert chain is not None
        reader.store.chains.put(replace(chain, blocked=True))
    with pytest.raises(UpdateNeeded):
        take(reader, talk.view)


def test_a_member_without_devices_is_no_fault() -> None:
    """Somebody who revoked their last device is still a member; nothing is sealed for them."""
    reader = endpoint(alice_laptop)
    talk = SimulatedConversation(ConversationKind.GROUP, reader, endpoint(carol_phone))
    talk.prove(reader)
    reader.learn(*talk.accounts)
    view = replace(talk.view, devices=talk.view.devices[:1])
    take(reader, view)
    assert reader.keychain.peers(view) == {}
    assert reader.store.pins.profile(carol.profile) == PinnedProfile(carol.account, carol.privat.salt)


def test_a_fresh_phrase_has_24_words() -> None:
    """Two people never get the same one, and each gives its key back however it is typed."""
    one, other = new_phrase(), new_phrase()
    assert len(one.split()) == 24
    assert one != other
    typed = "  " + one.upper().replace(" ", "\n ") + " "
    assert root_key_of(typed).private_bytes_raw() == root_key_of(one).private_bytes_raw()


@pytest.mark.parametrize(
    "phrase",
    ["", "abandon", " ".join(["abandon"] * 24), ABANDON + " art", ABANDON.replace("art", "varde"), ABANDON[:-4]],
)
def test_a_wrong_phrase_is_refused(phrase: str) -> None:
    """A word too few, too many, unknown or out of place is noticed."""
    with pytest.raises(WrongPhrase):
        root_key_of(phrase)


def test_both_sides_read_the_same_number() -> None:
    """Sixty digits, the same from both sides, and others for another key or account."""
    hers, his = (alice.account, alice.root_key), (bob.account, bob.root_key)
    number = safety_number(hers, his)
    assert number == safety_number(his, hers)
    assert len(number.replace(" ", "")) == 60
    assert number.replace(" ", "").isdigit()
    assert number != safety_number(hers, (bob.account, mallory.root_key))
    assert number != safety_number(hers, (AccountId(id_of(1)), bob.root_key))
