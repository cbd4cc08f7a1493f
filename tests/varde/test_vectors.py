"""The end-to-end vectors are data: what was sealed on the first day opens today."""

import json
from typing import Any
from uuid import UUID

import pytest
import vodozemac as v

from tests.varde.vectors.write import FILE, PICKLE_KEY
from varde.crypto import outer
from varde.crypto.olm import OlmAccount, PeerMegolm
from varde.crypto.root_key import root_key_of, safety_number
from varde_contract.envelope import Cipher, SealedParts, join_sealed, message_digest, split_sealed
from varde_contract.ids import AccountId, ConversationId, DeviceId
from varde_contract.kem import KemKeyPair

VECTORS: Any = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", VECTORS["sealed"], ids=lambda vector: vector["cipher"])
def test_the_header_is_frozen(vector: Any) -> None:
    """A sealed message begins as it always did, and is taken apart as it was put together."""
    parts = SealedParts(Cipher[vector["cipher"]], bytes.fromhex(vector["session"]), bytes.fromhex(vector["ciphertext"]))
    assert join_sealed(parts).hex() == vector["sealed"]
    assert split_sealed(bytes.fromhex(vector["sealed"])) == parts


def test_a_sender_key_of_the_first_day_opens_its_messages() -> None:
    """A shared key gives the same plaintexts, whichever message comes first."""
    vector = VECTORS["megolm"]
    key = PeerMegolm.accept(vector["key"])
    assert key.id.hex() == vector["session"]
    for message in reversed(vector["messages"]):
        parts = split_sealed(bytes.fromhex(message["sealed"]))
        assert (parts.cipher, parts.session) == (Cipher.MEGOLM, key.id)
        opened = key.decrypt(parts.ciphertext)
        assert (opened.step, opened.plaintext.hex()) == (message["step"], message["plaintext"])


def end_of(vector: Any) -> outer.End:
    """One end of the session of the vector."""
    account, device = AccountId(UUID(vector["account"])), DeviceId(UUID(vector["device"]))
    return outer.End(account, device, bytes.fromhex(vector["identity_key"]))


def test_a_ratchet_of_the_first_day_opens_its_messages() -> None:
    """An account pickled then takes in the prekey message that was sent to it, and the one after it."""
    vector = VECTORS["olm"]
    assert bytes.fromhex(vector["pickle_key"]) == PICKLE_KEY
    account = OlmAccount(v.Account.from_pickle(vector["account"], PICKLE_KEY))
    kem = KemKeyPair.from_private(bytes.fromhex(vector["kem_private"]))
    sender = end_of(vector["sender"])
    ends = outer.Ends(ConversationId(UUID(vector["conversation"])), end_of(vector["recipient"]), sender)
    first, second = (split_sealed(bytes.fromhex(message["sealed"])) for message in vector["messages"])
    layers = [outer.parse(parts.cipher, parts.ciphertext) for parts in (first, second)]
    state = outer.accept(kem, layers[0], ends, 0)
    inner = [outer.open_outer(state, layer, ends, 0)[0] for layer in layers]
    assert [content.hex() for content in inner] == [message["olm"] for message in vector["messages"]]
    assert [state.keys[0].hex()] * 2 == [message["outer_key"] for message in vector["messages"]]
    session, plaintext = account.inbound(sender.identity_key, inner[0])
    plaintexts = [plaintext, session.decrypt(second.cipher, inner[1])]
    assert [each.hex() for each in plaintexts] == [message["plaintext"] for message in vector["messages"]]
    assert [message_digest(each).hex() for each in plaintexts] == [message["digest"] for message in vector["messages"]]


def test_a_phrase_is_one_root_key_for_ever() -> None:
    """The same 24 words give the same key in every version."""
    vector = VECTORS["recovery"]
    assert root_key_of(vector["phrase"]).public_key().public_bytes_raw().hex() == vector["root_key"]


def test_a_safety_number_stays_what_it_is() -> None:
    """Two versions of the client show the same digits for the same people."""
    vector = VECTORS["safety_number"]
    one = AccountId(UUID(vector["account"])), bytes.fromhex(vector["root_key"])
    other = AccountId(UUID(vector["other_account"])), bytes.fromhex(vector["other_root_key"])
    assert safety_number(one, other) == vector["number"]
