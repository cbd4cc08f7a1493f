"""Public keys that lead to no secret: every low-order point of Curve25519, as ephemeral and as static key."""

import pytest

from tests.contract.noise.pairs import ALICE, BOB, IK, NN, XX, assert_poisoned, open_side
from varde_contract.noise import Handshake, KeyPair, NoiseFault

P = 2**255 - 19
ORDER_8 = (
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)
LOW_ORDER = [
    (point + high_bit).to_bytes(32, "little")
    for point in (0, 1, P - 1, P, P + 1, *ORDER_8)
    for high_bit in (0, 2**255)  # X25519 ignores the highest bit (RFC 7748, section 5)
]
NO_SECRET = "leads to no shared secret"

pytestmark = pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point.hex()[:8] + point.hex()[-2:])


class HollowKeyPair(KeyPair):
    """Mallory's key pair without a private half: whatever the other side's key, the secret is zero."""

    __slots__ = ()

    def exchange(self, public: bytes) -> bytes:
        """The secret that everybody knows."""
        del public
        return bytes(32)


def hollow(point: bytes) -> KeyPair:
    """A pair that shows the point as its public key."""
    pair = HollowKeyPair.from_private(bytes(32))
    object.__setattr__(pair, "public", point)
    return pair


def test_no_exchange_gives_a_secret(point: bytes) -> None:
    """A low-order point is refused by the one place where secrets are made."""
    with pytest.raises(NoiseFault, match=NO_SECRET):
        ALICE.exchange(point)


def test_a_low_order_ephemeral_is_refused_by_who_answers(point: bytes) -> None:
    """NN's responder can read such a message, which proves nothing yet, and cannot be made to answer it."""
    responder = open_side(NN, initiator=False)
    responder.read_message(point)
    with pytest.raises(NoiseFault, match=NO_SECRET):
        responder.write_message()
    assert_poisoned(responder)


@pytest.mark.parametrize("name", [XX, NN])
def test_a_low_order_ephemeral_is_refused_by_who_began(point: bytes, name: str) -> None:
    """An initiator refuses the answer of a responder without a secret."""
    initiator = open_side(name, initiator=True)
    initiator.write_message()
    with pytest.raises(NoiseFault, match=NO_SECRET):
        initiator.read_message(point + bytes(64))
    assert_poisoned(initiator)


def test_a_low_order_ephemeral_is_refused_by_a_known_responder(point: bytes) -> None:
    """IK's responder refuses the first message of an initiator without a secret at once."""
    responder = open_side(IK, initiator=False)
    with pytest.raises(NoiseFault, match=NO_SECRET):
        responder.read_message(point + bytes(64))
    assert_poisoned(responder)


def test_a_low_order_static_key_given_beforehand_is_refused(point: bytes) -> None:
    """A poisoned directory cannot make an initiator speak to everybody."""
    initiator = Handshake(IK, initiator=True, s=ALICE, rs=point)
    with pytest.raises(NoiseFault, match=NO_SECRET):
        initiator.write_message(b"for bob alone")
    assert_poisoned(initiator)


def test_a_low_order_static_key_is_refused_from_the_initiator(point: bytes) -> None:
    """XX: mallory sends a static key that needs no private half; without the check she would be let in."""
    mallory = Handshake(XX, initiator=True, s=hollow(point))
    bob = Handshake(XX, initiator=False, s=BOB)
    bob.read_message(mallory.write_message())
    mallory.read_message(bob.write_message())
    with pytest.raises(NoiseFault, match=NO_SECRET):
        bob.read_message(mallory.write_message())
    assert_poisoned(bob)


def test_a_low_order_static_key_is_refused_from_the_responder(point: bytes) -> None:
    """XX: the same in the other role."""
    alice = Handshake(XX, initiator=True, s=ALICE)
    mallory = Handshake(XX, initiator=False, s=hollow(point))
    mallory.read_message(alice.write_message())
    with pytest.raises(NoiseFault, match=NO_SECRET):
        alice.read_message(mallory.write_message())
    assert_poisoned(alice)
