"""Whom a device believes: certificates, pinned root keys and rosters that hold against both."""

from collections.abc import Callable
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cast import alice, alice_laptop, alice_phone, bob, bob_phone, carol, carol_phone, mallory, mallory_phone
from tests.ids import id_of
from tests.varde.endpoints import Endpoint, SimulatedConversation, endpoint
from varde.crypto.certificates import check_certificate
from varde.crypto.root_key import new_phrase, root_key_of, safety_number
from varde.errors import RootKeyChanged, UntrustedDevice, WrongPhrase
from varde_contract.ids import AccountId
from varde_contract.rest.talk import ConversationView, MemberView, RosterDevice
from varde_contract.talk import ConversationKind, Role

# The 24 words of zero entropy in the BIP 39 list: public, and nobody's.
ABANDON = " ".join(["abandon"] * 23 + ["art"])


def take(reader: Endpoint, view: ConversationView) -> None:
    """Let somebody judge a roster."""
    with reader.store.transaction():
        reader.keychain.trust.accept_roster(view)


def test_a_certificate_is_the_root_keys_word() -> None:
    """What the root key signed is believed, and nothing that differs in a field is."""
    certificate = endpoint(alice_laptop).certificate
    check_certificate(certificate, alice.root_key)
    with pytest.raises(UntrustedDevice):
        check_certificate(certificate, mallory.root_key)


@given(
    field=st.sampled_from(["account", "device", "noise_key", "signing_key", "identity_key", "signature"]),
    at=st.integers(0, 15),
)
def test_no_field_of_a_certificate_can_be_changed(field: str, at: int) -> None:
    """One changed bit in any field, and the certificate is refused."""
    certificate = endpoint(alice_laptop).certificate
    value = getattr(certificate, field)
    raw = bytearray(value.bytes if isinstance(value, UUID) else value)
    raw[at] ^= 1
    bent = {field: UUID(bytes=bytes(raw)) if isinstance(value, UUID) else bytes(raw)}
    with pytest.raises(UntrustedDevice):
        check_certificate(msgspec.structs.replace(certificate, **bent), alice.root_key)


def test_a_root_key_is_pinned_at_first_sight() -> None:
    """An account that shows another root key later is refused loudly, and the roster stays as it was."""
    reader, bobs = endpoint(alice_laptop), endpoint(bob_phone)
    talk = SimulatedConversation(ConversationKind.DM, reader, bobs)
    talk.verify_everywhere()
    talk.version += 1
    members = tuple(
        msgspec.structs.replace(member, root_key=mallory.root_key) if member.account == bob.account else member
        for member in talk.view.members
    )
    with pytest.raises(RootKeyChanged):
        take(reader, msgspec.structs.replace(talk.view, members=members))
    kept = reader.store.conversations.roster(talk.conversation)
    assert kept is not None
    assert kept.roster_version == 1


def test_a_refused_roster_pins_nothing() -> None:
    """What a roster that does not hold says of others is not believed either."""
    reader, bobs, carols = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    talk = SimulatedConversation(ConversationKind.GROUP, reader, bobs, carols)
    carols.certificate = msgspec.structs.replace(carols.certificate, signature=bytes(64))
    with pytest.raises(UntrustedDevice):
        take(reader, talk.view)
    assert reader.store.pins.root_key(bob.account) is None
    assert reader.store.pins.certificate(bobs.id) is None


def with_ghost(view: ConversationView, ghost: Endpoint) -> ConversationView:
    """A device that the server slipped in for bob, certified by somebody else."""
    device = RosterDevice(ghost.certificate, (bob.profile,))
    return msgspec.structs.replace(view, devices=(*view.devices, device))


def with_ghost_under_bobs_name(view: ConversationView, ghost: Endpoint) -> ConversationView:
    """The same, with bob's account in its certificate."""
    certificate = msgspec.structs.replace(ghost.certificate, account=bob.account)
    return msgspec.structs.replace(view, devices=(*view.devices, RosterDevice(certificate, (bob.profile,))))


def with_device_of_nobody(view: ConversationView, _: Endpoint) -> ConversationView:
    """A device that receives for nobody."""
    return msgspec.structs.replace(view, devices=tuple(RosterDevice(d.certificate, ()) for d in view.devices))


def with_other_keys(view: ConversationView, ghost: Endpoint) -> ConversationView:
    """Bob's device under its own id, with the ghost's keys."""
    bobs = next(device for device in view.devices if device.certificate.account == bob.account)
    certificate = msgspec.structs.replace(bobs.certificate, identity_key=ghost.certificate.identity_key)
    others = tuple(device for device in view.devices if device is not bobs)
    return msgspec.structs.replace(view, devices=(*others, RosterDevice(certificate, bobs.profiles)))


def with_stolen_profile(view: ConversationView, ghost: Endpoint) -> ConversationView:
    """Bob's profile as if it were mallory's."""
    members = tuple(
        MemberView(bob.profile, mallory.account, Role.MEMBER, mallory.root_key) if m.account == bob.account else m
        for m in view.members
    )
    devices = (RosterDevice(ghost.certificate, (bob.profile,)),)
    return msgspec.structs.replace(view, members=members, devices=devices)


@pytest.mark.parametrize(
    "bend", [with_ghost, with_ghost_under_bobs_name, with_device_of_nobody, with_other_keys, with_stolen_profile]
)
def test_nobody_can_be_slipped_in(bend: Callable[[ConversationView, Endpoint], ConversationView]) -> None:
    """A roster with a device, a key or an owner that no root key vouches for is refused as a whole."""
    reader, bobs, ghost = endpoint(alice_laptop), endpoint(bob_phone), endpoint(mallory_phone)
    talk = SimulatedConversation(ConversationKind.GROUP, reader, bobs)
    talk.verify_everywhere()
    talk.version += 1
    with pytest.raises((UntrustedDevice, RootKeyChanged)):
        take(reader, bend(talk.view, ghost))


def test_a_third_never_comes_into_a_dm() -> None:
    """A dm has two people for ever, whatever the server says."""
    reader, bobs, carols = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    talk = SimulatedConversation(ConversationKind.DM, reader, bobs)
    talk.verify_everywhere()
    talk.join(carols)
    with pytest.raises(UntrustedDevice):
        take(reader, talk.view)
    with pytest.raises(UntrustedDevice):
        take(endpoint(alice_phone), talk.view)


def test_notes_to_oneself_are_for_oneself() -> None:
    """Nobody else is in a conversation with oneself."""
    reader, bobs = endpoint(alice_laptop), endpoint(bob_phone)
    with pytest.raises(UntrustedDevice):
        take(reader, SimulatedConversation(ConversationKind.SELF, bobs).view)
    take(reader, SimulatedConversation(ConversationKind.SELF, reader, endpoint(alice_phone)).view)


def test_a_conversation_stays_of_its_kind() -> None:
    """A dm does not turn into a group."""
    reader = endpoint(alice_laptop)
    talk = SimulatedConversation(ConversationKind.DM, reader, endpoint(bob_phone))
    talk.verify_everywhere()
    with pytest.raises(UntrustedDevice):
        take(reader, msgspec.structs.replace(talk.view, kind=ConversationKind.GROUP))


def test_a_member_without_devices_is_no_fault() -> None:
    """Somebody who revoked their last device is still a member; nothing is sealed for them."""
    reader = endpoint(alice_laptop)
    talk = SimulatedConversation(ConversationKind.GROUP, reader, endpoint(carol_phone))
    view = msgspec.structs.replace(talk.view, devices=talk.view.devices[:1])
    take(reader, view)
    assert reader.keychain.peers(view) == {}
    assert reader.store.pins.account_of(carol.profile) == carol.account


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
