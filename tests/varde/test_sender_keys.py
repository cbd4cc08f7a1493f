"""Messages for a group: who is given the sender key, when it is replaced, what it does not open."""

import base64
from uuid import UUID

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from tests.cast import alice_laptop, bob_phone, carol_phone, dave_phone, mallory_phone
from tests.ids import id_of
from tests.varde.endpoints import NOW, Endpoint, SimulatedConversation, endpoint, why
from varde.crypto import CannotDecrypt
from varde.crypto.olm import OwnMegolm
from varde.crypto.sender_keys import ROTATE_AFTER_MESSAGES, ROTATE_AFTER_MS
from varde.events import Reason
from varde_contract.bodies import Empty, GroupKey, Text
from varde_contract.envelope import SealedParts, join_sealed, split_sealed
from varde_contract.frames import New
from varde_contract.ids import ClientId
from varde_contract.talk import ConversationKind


def group(*endpoints: Endpoint) -> SimulatedConversation:
    """A group whose devices have met."""
    talk = SimulatedConversation(ConversationKind.GROUP, *endpoints)
    talk.verify_everywhere()
    return talk


def give(talk: SimulatedConversation, news: dict[UUID, New]) -> None:
    """Let everybody take in what was sent."""
    for reader in talk.endpoints:
        if reader.id in news:
            reader.open(news[reader.id])


def shared(sender: Endpoint, talk: SimulatedConversation) -> SimulatedConversation:
    """The same table, with the sender's key given to everybody."""
    give(talk, talk.share(sender))  # type: ignore[arg-type] # a DeviceId is a UUID, a dict is invariant
    return talk


def test_a_group_reads_what_was_sealed_once() -> None:
    """After the key was shared, one ciphertext is read by all."""
    alice, bob, carol = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    talk = shared(alice, group(alice, bob, carol))
    news = talk.send_group_text(alice, "hei alle")
    assert news[bob.id].ciphertext == news[carol.id].ciphertext
    assert bob.read(news[bob.id]) == carol.read(news[carol.id]) == "hei alle"


def test_the_key_comes_before_the_first_message() -> None:
    """A message whose key was not shared with this device stays closed."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = group(alice, bob)
    assert alice.keychain.must_share(talk.view, NOW)
    talk.share(alice)
    assert not alice.keychain.must_share(talk.view, NOW)
    assert why(bob, talk.send_group_text(alice, "too early")[bob.id]) is Reason.NO_SESSION


def test_two_people_take_no_sender_key() -> None:
    """Between two people nothing is opened with a key that others could hold: neither the key nor its messages."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = SimulatedConversation(ConversationKind.DM, alice, bob)
    talk.verify_everywhere()
    assert why(bob, talk.share(alice)[bob.id]) is Reason.MISATTRIBUTED
    assert why(bob, talk.send_group_text(alice, "psst")[bob.id]) is Reason.MISATTRIBUTED


def test_who_is_added_gets_the_key_from_here_on() -> None:
    """A new device reads what comes after it, with the same key, and nothing from before."""
    alice, bob, dave = endpoint(alice_laptop), endpoint(bob_phone), endpoint(dave_phone)
    talk = shared(alice, group(alice, bob))
    before = talk.send_group_text(alice, "before")[bob.id]
    talk.join(dave)
    talk.verify_everywhere()
    assert alice.keychain.must_share(talk.view, NOW)
    shared(alice, talk)
    after = talk.send_group_text(alice, "after")
    assert split_sealed(after[bob.id].ciphertext).session == split_sealed(before.ciphertext).session
    assert bob.read(before) == "before"
    assert bob.read(after[bob.id]) == dave.read(after[dave.id]) == "after"
    assert why(dave, msgspec.structs.replace(before)) is Reason.TAMPERED


def test_who_is_gone_reads_nothing_more() -> None:
    """After a device went, the next message has a key that it was never given."""
    alice, bob, carol = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    talk = shared(alice, group(alice, bob, carol))
    old = split_sealed(talk.send_group_text(alice, "with carol")[bob.id].ciphertext).session
    talk.remove(carol)
    assert alice.keychain.must_share(talk.view, NOW)
    shared(alice, talk)
    news = talk.send_group_text(alice, "without carol")
    assert split_sealed(news[bob.id].ciphertext).session != old
    assert bob.read(news[bob.id]) == "without carol"
    assert why(carol, news[bob.id]) is Reason.NO_SESSION


def test_who_is_gone_and_back_meets_a_fresh_key() -> None:
    """Coming back does not bring back the old key once something was said in between."""
    alice, bob, carol = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    talk = shared(alice, group(alice, bob, carol))
    talk.remove(carol)
    shared(alice, talk)
    secret = talk.send_group_text(alice, "about carol")[bob.id]
    talk.join(carol)
    shared(alice, talk)
    assert carol.read(talk.send_group_text(alice, "hei igjen")[carol.id]) == "hei igjen"
    assert why(carol, secret) in {Reason.NO_SESSION, Reason.TAMPERED}


def test_the_key_is_replaced_after_a_hundred_messages() -> None:
    """Message 101 asks for a fresh key."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = shared(alice, group(alice, bob))
    first = split_sealed(talk.send_group_text(alice, "1")[bob.id].ciphertext).session
    for _ in range(ROTATE_AFTER_MESSAGES - 1):
        assert not alice.keychain.must_share(talk.view, NOW)
        talk.send_group_text(alice, "more")
    assert alice.keychain.must_share(talk.view, NOW)
    shared(alice, talk)
    assert split_sealed(talk.send_group_text(alice, "101")[bob.id].ciphertext).session != first


@pytest.mark.parametrize(
    ("age_ms", "worn"), [(0, False), (ROTATE_AFTER_MS - 1, False), (ROTATE_AFTER_MS, True), (-1, True)]
)
def test_the_key_is_replaced_after_a_week(age_ms: int, worn: bool) -> None:  # noqa: FBT001 - a row of the table
    """A key a week old, or from the future of a clock that was set back, is not used."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = shared(alice, group(alice, bob))
    assert alice.keychain.must_share(talk.view, NOW + age_ms) is worn


def test_a_replayed_group_message_is_refused() -> None:
    """Megolm opens a step as often as asked: the same ciphertext under another number or client id is refused."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = shared(alice, group(alice, bob))
    new = talk.send_group_text(alice, "once")[bob.id]
    assert bob.read(new) == "once"
    assert why(bob, msgspec.structs.replace(new, seq=new.seq + 1)) is Reason.REPLAYED
    assert why(bob, msgspec.structs.replace(new, client_id=ClientId(id_of(1)))) is Reason.REPLAYED
    assert bob.read(new) == "once"  # the very same number again, as after a crash before the commit


def test_a_sender_key_speaks_for_its_device_alone() -> None:
    """A member who was given alice's key can pass neither it nor her messages off as their own, nor spoil it."""
    alice, bob, mallory = endpoint(alice_laptop), endpoint(bob_phone), endpoint(mallory_phone)
    talk = group(alice, bob, mallory)
    news = talk.share(alice)
    body = mallory.open(news[mallory.id]).body
    assert isinstance(body, GroupKey)
    draft = talk.draft(mallory)
    stolen = talk.commit(mallory, draft, talk.encrypt_for_each(mallory, draft, body))
    bob.open(stolen[bob.id])
    bob.open(news[bob.id])
    said = talk.send_group_text(alice, "mine")[bob.id]
    as_mallory = msgspec.structs.replace(
        said, sender_device=mallory.id, sender_profile=mallory.person.profile, seq=said.seq + 1
    )
    assert why(bob, as_mallory) is Reason.MISATTRIBUTED
    assert bob.read(said) == "mine"


def test_a_key_must_be_what_it_says() -> None:
    """A shared key whose session id is another one's is refused."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = group(alice, bob)
    with alice.store.transaction():
        key = alice.keychain.share(talk.view, NOW)
    for body in (GroupKey(bytes(32), key.key), GroupKey(key.session, "AAAA")):
        draft = talk.draft(alice)
        news = talk.commit(alice, draft, talk.encrypt_for_each(alice, draft, body))
        assert why(bob, news[bob.id]) is Reason.MALFORMED


def test_sharing_again_never_takes_away() -> None:
    """Who has a key from its beginning keeps that, also when it is shared again from a later step."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = shared(alice, group(alice, bob))
    early = talk.send_group_text(alice, "early")[bob.id]
    shared(alice, talk)
    assert bob.read(early) == "early"


def test_an_earlier_step_of_a_key_is_taken() -> None:
    """A share that comes late, from an earlier step, opens what the later one did not."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = group(alice, bob)
    first = talk.share(alice)[bob.id]
    early = talk.send_group_text(alice, "early")[bob.id]
    second = talk.share(alice)[bob.id]
    bob.open(second)
    assert why(bob, early) is Reason.TAMPERED
    bob.open(first)
    assert bob.read(early) == "early"


def test_a_group_key_never_comes_outside_olm() -> None:
    """A key sealed for the whole group, where it has no recipient, is refused."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = shared(alice, group(alice, bob))
    draft = talk.draft(alice)
    with alice.store.transaction():
        ready = alice.keychain.encrypt_for_group(talk.view, draft, GroupKey(bytes(32), "AAAA"))
    assert why(bob, talk.commit(alice, draft, ready)[bob.id]) is Reason.MISATTRIBUTED


def test_an_empty_message_on_a_fresh_ratchet_asks_for_the_key() -> None:
    """A device that lost its keys mends, and is given a fresh sender key before the next message."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = shared(alice, group(alice, bob))
    with bob.store.transaction():
        bob.store._database.run("DELETE FROM olm_session")
        bob.store._database.run("DELETE FROM sender_key")
    assert why(bob, talk.send_group_text(alice, "lost")[bob.id]) is Reason.NO_SESSION
    alice.open(talk.request_reset(bob)[alice.id])
    assert alice.keychain.must_share(talk.view, NOW)
    shared(alice, talk)
    assert bob.read(talk.send_group_text(alice, "found")[bob.id]) == "found"


def test_an_empty_message_on_a_known_ratchet_asks_for_nothing() -> None:
    """Mending one pair does not make every other member share its key again."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = shared(alice, group(alice, bob))
    alice.open(talk.send_text(bob, "known by now")[alice.id])
    draft = talk.draft(bob)
    alice.open(talk.commit(bob, draft, talk.encrypt_for_each(bob, draft, Empty()))[alice.id])
    assert not alice.keychain.must_share(talk.view, NOW)


def test_a_withdrawn_share_starts_over() -> None:
    """When sharing was refused, the key is forgotten: the next share is of a fresh one."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = group(alice, bob)
    with alice.store.transaction():
        first = alice.keychain.share(talk.view, NOW)
        alice.keychain.withdraw_share(talk.conversation)
        second = alice.keychain.share(talk.view, NOW)
    assert first.session != second.session


@given(data=st.data())
def test_no_changed_byte_of_a_group_message_is_read(data: st.DataObject) -> None:
    """A group ciphertext with any bit changed or its end cut off stays closed, and the intact one opens after it."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = shared(alice, group(alice, bob))
    new = talk.send_group_text(alice, "intact")[bob.id]
    at = data.draw(st.integers(0, len(new.ciphertext) - 1), label="at")
    bit = 1 << data.draw(st.integers(0, 7), label="bit")
    changed = new.ciphertext[:at] + bytes((new.ciphertext[at] ^ bit,)) + new.ciphertext[at + 1 :]
    with pytest.raises(CannotDecrypt):
        bob.open(msgspec.structs.replace(new, ciphertext=data.draw(st.sampled_from([changed, new.ciphertext[:at]]))))
    assert bob.read(new) == "intact"


def test_an_olm_message_is_no_group_message() -> None:
    """Exchanging the cipher byte opens nothing."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = shared(alice, group(alice, bob))
    new = talk.send_group_text(alice, "x")[bob.id]
    parts = split_sealed(new.ciphertext)
    for cipher in (type(parts.cipher).OLM, type(parts.cipher).OLM_PREKEY):
        bent = join_sealed(SealedParts(cipher, b"", parts.ciphertext))
        assert why(bob, msgspec.structs.replace(new, ciphertext=bent)) in {Reason.NO_SESSION, Reason.MALFORMED}


def test_a_text_in_a_group_may_still_go_pairwise() -> None:
    """A reader does not care which ratchet a text came on."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    talk = shared(alice, group(alice, bob))
    draft = talk.draft(alice)
    news = talk.commit(alice, draft, talk.encrypt_for_each(alice, draft, Text("pairwise")))
    assert bob.read(news[bob.id]) == "pairwise"


def test_a_shared_key_has_the_form_of_the_page() -> None:
    """The signed session key: version, step, ratchet, public key and its signature, as base64 without padding."""
    session = OwnMegolm.generate()
    for step in range(3):
        assert len(session.key) == 306
        raw = base64.b64decode(session.key + "==")
        assert (len(raw), raw[0], int.from_bytes(raw[1:5]), raw[133:165]) == (229, 2, step, session.id)
        Ed25519PublicKey.from_public_bytes(raw[133:165]).verify(raw[165:], raw[:165])
        session.encrypt(b"x")
