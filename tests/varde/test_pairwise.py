"""Messages for one device: ratchets that begin, cross, lose messages and are lost."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cast import alice_laptop, alice_phone, bob_phone, carol_phone
from tests.ids import id_of
from tests.varde.endpoints import NOW, Endpoint, SimulatedConversation, endpoint, why
from varde.crypto import CannotDecrypt
from varde.crypto.olm import OlmAccount
from varde.errors import UntrustedDevice
from varde.events import Reason
from varde.store.ratchets import RESET_EVERY_MS, SESSIONS_PER_PAIR, Pair
from varde_contract.bodies import Text
from varde_contract.frames import New
from varde_contract.ids import ClientId
from varde_contract.talk import ConversationKind


def dm(*endpoints: Endpoint) -> SimulatedConversation:
    """A dm whose devices have met."""
    talk = SimulatedConversation(ConversationKind.DM, *endpoints)
    talk.verify_everywhere()
    return talk


def test_two_people_write_both_ways() -> None:
    """What one says, the other reads, in both directions and again and again."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = dm(alice, bob)
    for number in range(3):
        assert bob.read(talk.send_text(alice, f"hei {number}")[bob.id]) == f"hei {number}"
        assert alice.read(talk.send_text(bob, f"hallo {number}")[alice.id]) == f"hallo {number}"


def test_own_other_devices_are_kept_in_step() -> None:
    """What a laptop says, the phone of the same account reads as well."""
    laptop, phone, bob = endpoint(alice_laptop), endpoint(alice_phone), endpoint(bob_phone)
    talk = dm(laptop, phone, bob)
    said = talk.send_text(laptop, "from the laptop")
    assert phone.read(said[phone.id]) == bob.read(said[bob.id]) == "from the laptop"


def test_both_may_begin_at_once() -> None:
    """Two first messages that cross are both read, and so is everything after them."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = dm(alice, bob)
    hers, his = talk.send_text(alice, "first"), talk.send_text(bob, "no, first")
    assert bob.read(hers[bob.id]) == "first"
    assert alice.read(his[alice.id]) == "no, first"
    for number in range(4):
        assert bob.read(talk.send_text(alice, str(number))[bob.id]) == str(number)
        assert alice.read(talk.send_text(bob, str(number))[alice.id]) == str(number)


@given(order=st.permutations(range(12)))
def test_messages_of_one_chain_open_in_any_order(order: list[int]) -> None:
    """A message that is late is still read."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = dm(alice, bob)
    said = [talk.send_text(alice, str(number))[bob.id] for number in range(12)]
    assert [bob.read(said[number]) for number in order] == [str(number) for number in order]


def test_thirty_nine_messages_may_come_late() -> None:
    """The ratchet keeps 40 skipped keys: the last of 40 may come first, and all the others after it."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = dm(alice, bob)
    said = [talk.send_text(alice, str(number))[bob.id] for number in range(40)]
    assert bob.read(said[-1]) == "39"
    assert [bob.read(new) for new in said[:-1]] == [str(number) for number in range(39)]


def test_a_conversation_has_ratchets_of_its_own() -> None:
    """Forty unread messages in one conversation cost nothing in another one between the same devices."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    busy, quiet = dm(alice, bob), SimulatedConversation(ConversationKind.GROUP, alice, bob)
    quiet.verify_everywhere()
    assert bob.read(quiet.send_text(alice, "one")[bob.id]) == "one"
    for number in range(60):
        busy.send_text(alice, str(number))
    assert bob.read(quiet.send_text(alice, "two")[bob.id]) == "two"


def test_a_message_opens_once() -> None:
    """The same ciphertext a second time is refused, as the first of a session and as a later one."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = dm(alice, bob)
    first = talk.send_text(alice, "once")[bob.id]
    bob.read(first)
    assert why(bob, first) is Reason.TAMPERED
    assert not bob.store.kem_prekeys.find(first.ciphertext[11:27])  # the private half is gone
    alice.read(talk.send_text(bob, "ok")[alice.id])
    later = talk.send_text(alice, "once more")[bob.id]
    bob.read(later)
    assert why(bob, later) is Reason.TAMPERED


def test_what_the_relay_says_must_be_what_is_inside() -> None:
    """A message given out under another conversation, client id or sender is refused."""
    alice, bob, carol = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    talk, other = (
        SimulatedConversation(ConversationKind.GROUP, alice, bob, carol),
        SimulatedConversation(ConversationKind.GROUP, alice, bob, carol),
    )
    talk.verify_everywhere()
    other.verify_everywhere()

    def message_to_bob() -> New:
        return talk.send_text(alice, "to be bent")[bob.id]

    bent = msgspec.structs.replace(message_to_bob(), client_id=ClientId(id_of(7)))
    assert why(bob, bent) is Reason.MISATTRIBUTED
    moved = msgspec.structs.replace(message_to_bob(), conversation=other.conversation)
    assert why(bob, moved) in {Reason.NO_SESSION, Reason.MISATTRIBUTED, Reason.TAMPERED}
    as_carol = msgspec.structs.replace(message_to_bob(), sender_device=carol.id, sender_profile=carol.person.profile)
    assert why(bob, as_carol) is Reason.TAMPERED
    lent = msgspec.structs.replace(message_to_bob(), sender_profile=carol.person.profile)
    assert why(bob, lent) is Reason.UNKNOWN_SENDER


def test_a_message_is_for_one_device() -> None:
    """What was sealed for the laptop is of no use to the phone of the same person."""
    laptop, phone, bob = endpoint(alice_laptop), endpoint(alice_phone), endpoint(bob_phone)
    talk = dm(laptop, phone, bob)
    for_laptop = talk.send_text(bob, "for each")[laptop.id]
    assert why(phone, for_laptop) is Reason.NO_SESSION


def test_an_unknown_device_is_not_read() -> None:
    """Without a device list a message says nothing."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = SimulatedConversation(ConversationKind.DM, alice, bob)
    alice.learn(*talk.accounts)
    with alice.store.transaction():
        talk.prove(alice)
        alice.keychain.trust.accept_roster(talk.view)
    assert why(bob, talk.send_text(alice, "who am I?")[bob.id]) is Reason.UNKNOWN_SENDER


@pytest.mark.parametrize("key", ["one-time", "base", "identity", "ratchet"])
def test_a_key_written_in_another_way_opens_nothing_again(key: str) -> None:
    """The highest bit of a key means nothing to X25519, and with a fallback key it made a second session of the same
    message.
    """
    alice, bob = OlmAccount.generate(), OlmAccount.generate()
    session = alice.outbound(bob.identity_key, bob.new_fallback_key())
    _, message = session.encrypt(b"once")
    assert bob.inbound(alice.identity_key, message)[1] == b"once"
    # Behind the version byte, each key stands after its two bytes of field; the ratchet key comes last.
    at = {"one-time": 3, "base": 37, "identity": 71, "ratchet": 109}[key] + 31
    bent = bytearray(message)
    bent[at] ^= 0x80
    with pytest.raises(CannotDecrypt) as caught:
        bob.inbound(alice.identity_key, bytes(bent))
    assert caught.value.reason is Reason.MALFORMED


@given(data=st.data())
def test_no_changed_byte_is_read(data: st.DataObject) -> None:
    """A ciphertext with any bit changed, cut off or added to stays closed or reads as it was, and breaks nothing."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = dm(alice, bob)
    if data.draw(st.booleans(), label="answered"):
        alice.read(talk.send_text(bob, "hello")[alice.id])
    new = talk.send_text(alice, "intact")[bob.id]
    at = data.draw(st.integers(0, len(new.ciphertext) - 1), label="at")
    bit = 1 << data.draw(st.integers(0, 7), label="bit")
    changed = new.ciphertext[:at] + bytes((new.ciphertext[at] ^ bit,)) + new.ciphertext[at + 1 :]
    sealed = data.draw(st.sampled_from([changed, new.ciphertext[: at + 1], new.ciphertext + b"\x00"]), label="sealed")
    try:
        text = bob.read(msgspec.structs.replace(new, ciphertext=sealed))
    except CannotDecrypt:
        assert bob.read(new) == "intact"
    else:
        assert text == "intact"


def test_a_prekey_must_be_signed_by_its_device() -> None:
    """A prekey that the directory made up is refused, and nothing is sealed with it."""
    alice, bob, carol = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    talk = dm(alice, bob)
    bob.one_time_keys = carol.one_time_keys
    with pytest.raises(UntrustedDevice):
        talk.send_text(alice, "to whom?")


def test_a_fallback_key_opens_several_sessions() -> None:
    """When the one-time keys are gone, more than one device can still begin with the fallback key."""
    laptop, phone, bob = endpoint(alice_laptop), endpoint(alice_phone), endpoint(bob_phone)
    talk = dm(laptop, phone, bob)
    bob.one_time_keys.clear()
    assert bob.read(talk.send_text(laptop, "one")[bob.id]) == "one"
    assert bob.read(talk.send_text(phone, "two")[bob.id]) == "two"


def test_a_device_without_prekeys_learns_that_it_missed_something() -> None:
    """A device nothing can be sealed for gets a message that does not open, and then mends."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = dm(alice, bob)
    bob.one_time_keys.clear()
    bob.fallback_key = None
    assert why(bob, talk.send_text(alice, "lost")[bob.id]) is Reason.NO_SESSION


def test_a_lost_ratchet_is_mended() -> None:
    """A device that lost its sessions starts a fresh one, and both go on."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = dm(alice, bob)
    bob.read(talk.send_text(alice, "hei")[bob.id])
    alice.read(talk.send_text(bob, "hei")[alice.id])
    with bob.store.transaction():
        bob.store._database.run("DELETE FROM olm_session")
    lost = talk.send_text(alice, "lost")[bob.id]
    reason = why(bob, lost)
    with bob.store.transaction():
        assert bob.keychain.request_reset(lost, reason, NOW)
    alice.open(talk.request_reset(bob)[alice.id])
    assert bob.read(talk.send_text(alice, "found")[bob.id]) == "found"


def test_mending_pauses() -> None:
    """Two devices that cannot read each other do not mend for ever."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = dm(alice, bob)
    new = talk.send_text(alice, "x")[bob.id]
    with bob.store.transaction():
        assert bob.keychain.request_reset(new, Reason.NO_SESSION, NOW)
        assert not bob.keychain.request_reset(new, Reason.NO_SESSION, NOW)
        bob.store.ratchets.clear_resets(talk.conversation)
        assert not bob.keychain.request_reset(new, Reason.NO_SESSION, NOW + RESET_EVERY_MS - 1)
        assert bob.keychain.request_reset(new, Reason.NO_SESSION, NOW + RESET_EVERY_MS)


@pytest.mark.parametrize("reason", [Reason.UNKNOWN_SENDER, Reason.MISATTRIBUTED, Reason.REPLAYED, Reason.MALFORMED])
def test_only_a_lost_ratchet_is_mended(reason: Reason) -> None:
    """Nobody can make a device start ratchets by sending it nonsense."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    new = dm(alice, bob).send_text(alice, "x")[bob.id]
    with bob.store.transaction():
        assert not bob.keychain.request_reset(new, reason, NOW)


def test_a_pair_keeps_its_five_best_sessions() -> None:
    """However often a peer starts afresh, the sessions of a pair do not pile up, and the newest is sent on."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = dm(alice, bob)
    pair = Pair(talk.conversation, bob.id)
    for number in range(SESSIONS_PER_PAIR + 3):
        with alice.store.transaction():
            alice.keychain.start_sessions(talk.view, talk.claim([bob.id]))
        assert bob.read(talk.send_text(alice, str(number))[bob.id]) == str(number)
    assert len(alice.store.ratchets.sessions(pair)) == SESSIONS_PER_PAIR


def test_every_ciphertext_of_a_bucket_has_one_length() -> None:
    """A short and a longer text in the same bucket cannot be told apart by size."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = dm(alice, bob)
    talk.send_text(alice, "warm up")
    lengths = {len(talk.send_text(alice, text)[bob.id].ciphertext) for text in ("a", "b" * 50)}
    assert len(lengths) == 1


def test_a_bundle_is_for_the_roster_exactly() -> None:
    """One ciphertext for every current device but the sending one: no more and no fewer."""
    laptop, phone, bob = endpoint(alice_laptop), endpoint(alice_phone), endpoint(bob_phone)
    talk = dm(laptop, phone, bob)
    ready = talk.encrypt_for_each(laptop, talk.draft(laptop), Text("x"))
    assert ready.devices is not None
    assert ready.devices.keys() == {phone.id, bob.id}
    assert ready.roster_version == talk.version
