"""The outer layer of Olm messages: post-quantum, bound to both ends, and renewed when its key is worn."""

import msgspec
import pytest

from tests.cast import alice_laptop, bob_phone, carol_phone
from tests.varde.endpoints import Endpoint, SimulatedConversation, endpoint, why
from varde.crypto import outer
from varde.crypto.outer import RENEW_AFTER_MESSAGES, RENEW_AFTER_MS
from varde.errors import UntrustedDevice
from varde.events import Reason
from varde.store.ratchets import OuterState, Pair
from varde_contract.envelope import Cipher, split_sealed
from varde_contract.frames import New
from varde_contract.rest.people import SignedKey
from varde_contract.talk import ConversationKind


def dm(*endpoints: Endpoint) -> SimulatedConversation:
    """A dm whose devices have met."""
    talk = SimulatedConversation(ConversationKind.DM, *endpoints)
    talk.verify_everywhere()
    return talk


def state_of(one: Endpoint, other: Endpoint, talk: SimulatedConversation) -> OuterState:
    """The outer layer that a device sends in."""
    found = one.store.ratchets.to_send_on(Pair(talk.conversation, other.id))
    assert found is not None
    return found[1].outer


def parsed(new: New) -> outer.OuterMessage:
    """The outer layer of a message."""
    parts = split_sealed(new.ciphertext)
    return outer.parse(parts.cipher, parts.ciphertext)


def test_the_first_messages_carry_the_key_and_the_others_do_not() -> None:
    """Until the other side was heard, each message can begin the layer there; afterwards it costs 49 bytes."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = dm(alice, bob)
    first, second = (talk.send_text(alice, text)[bob.id] for text in ("1", "2"))
    assert parsed(first).encapsulated == parsed(second).encapsulated != b""
    assert [bob.read(new) for new in (second, first)] == ["2", "1"]
    answer = talk.send_text(bob, "3")[alice.id]
    assert alice.read(answer) == "3"
    later = talk.send_text(alice, "4")[bob.id]
    assert parsed(answer).encapsulated == parsed(later).encapsulated == b""
    assert bob.read(later) == "4"


@pytest.mark.parametrize("worn", ["messages", "time"])
def test_a_worn_key_is_renewed(monkeypatch: pytest.MonkeyPatch, worn: str) -> None:
    """After fifty messages or a week the key is another one on both sides, and nothing is lost on the way."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = dm(alice, bob)
    bob.read(talk.send_text(alice, "hei")[bob.id])
    alice.read(talk.send_text(bob, "hei")[alice.id])
    old = state_of(alice, bob, talk).keys[0]
    if worn == "time":
        later = state_of(alice, bob, talk).since_ms + RENEW_AFTER_MS
        monkeypatch.setattr("varde.crypto.pairwise.now_ms", lambda: later)
    for number in range(RENEW_AFTER_MESSAGES):
        if state_of(alice, bob, talk).offered:
            break
        assert bob.read(talk.send_text(alice, str(number))[bob.id]) == str(number)
    monkeypatch.undo()
    late = talk.send_text(alice, "under the old key")[bob.id]
    assert parsed(late).offer
    assert alice.read(talk.send_text(bob, "here is my half")[alice.id]) == "here is my half"
    fresh = state_of(alice, bob, talk)
    assert fresh.keys[:2] == (state_of(bob, alice, talk).keys[0], old)
    assert fresh.keys[0] != old
    assert not fresh.offered
    assert bob.read(late) == "under the old key"
    last = talk.send_text(alice, "under the new key")[bob.id]
    assert (parsed(last).offer, parsed(last).encapsulated) == (b"", b"")
    assert bob.read(last) == "under the new key"
    assert not state_of(bob, alice, talk).answer


def test_the_answer_is_repeated_until_it_is_heard() -> None:
    """An answer that was lost is in the next message, too."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = dm(alice, bob)
    bob.read(talk.send_text(alice, "hei")[bob.id])
    alice.read(talk.send_text(bob, "hei")[alice.id])
    for number in range(RENEW_AFTER_MESSAGES + 1):
        bob.read(talk.send_text(alice, str(number))[bob.id])
    talk.send_text(bob, "lost on the way")
    assert alice.read(talk.send_text(bob, "heard")[alice.id]) == "heard"
    assert state_of(alice, bob, talk).keys[0] == state_of(bob, alice, talk).keys[0]


def test_a_message_belongs_between_its_two_ends() -> None:
    """A layer that was sealed for one device opens at no other, and no header can be exchanged for another."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = dm(alice, bob)
    new = talk.send_text(alice, "to bob")[bob.id]
    for at in (2, 3, 11, 40, len(new.ciphertext) - 1):
        bent = bytearray(new.ciphertext)
        bent[at] ^= 0x01
        reason = why(bob, msgspec.structs.replace(new, ciphertext=bytes(bent)))
        assert reason in {Reason.TAMPERED, Reason.NO_SESSION, Reason.MALFORMED}
    as_normal = new.ciphertext[:1] + bytes((Cipher.OLM,)) + new.ciphertext[2:]
    assert why(bob, msgspec.structs.replace(new, ciphertext=as_normal)) is Reason.NO_SESSION
    assert bob.read(new) == "to bob"


def test_a_reflected_message_opens_nothing() -> None:
    """What a device sent itself is not taken as its peer's: the direction is bound."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = dm(alice, bob)
    bob.read(talk.send_text(alice, "hei")[bob.id])
    mine = talk.send_text(bob, "mine")[alice.id]
    reflected = msgspec.structs.replace(mine, sender_device=alice.id, sender_profile=alice.person.profile)
    assert why(bob, reflected) is Reason.TAMPERED


@pytest.mark.parametrize("content", [b"", b"\x04", b"\x00" * 8, b"\x01" + bytes(60), b"\x02" + bytes(60), b"\x03" * 99])
def test_what_is_no_outer_layer_is_malformed(content: bytes) -> None:
    """Unknown flags, and anything too short for what its flags say."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = dm(alice, bob)
    new = talk.send_text(alice, "x")[bob.id]
    sealed = new.ciphertext[:2] + content
    assert why(bob, msgspec.structs.replace(new, ciphertext=sealed)) is Reason.MALFORMED


def test_a_prekey_without_its_own_kem_key_is_refused() -> None:
    """The directory cannot pair the Curve25519 key of a device with another KEM key: one signature covers both."""
    alice, bob, carol = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    talk = dm(alice, bob)
    key = bob.one_time_keys[0]
    bob.one_time_keys[0] = SignedKey(key.key, carol.one_time_keys[0].kem_key, key.signature)
    with pytest.raises(UntrustedDevice):
        talk.send_text(alice, "to whom?")
