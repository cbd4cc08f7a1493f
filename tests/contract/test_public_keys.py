"""Public keys: what is accepted could have been made honestly; what lets secrets be guessed or forged is not."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from varde_contract.public_keys import is_good_exchange_key, is_good_signing_key, is_signed

FIELD = 2**255 - 19
ORDER_8 = 325606250916557431795983626356110631294008115727848805560023387167927233504
ALSO_ORDER_8 = 39382357235489614581723060781553021112529911719440698176882885853963445705823
SMALL_ON_CURVE25519 = [0, 1, ORDER_8, ALSO_ORDER_8, FIELD - 1, FIELD, FIELD + 1]
SMALL_ON_EDWARDS25519 = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]

seeds = st.binary(min_size=32, max_size=32)
alice = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"alice").digest())
PUBLIC = alice.public_key().public_bytes_raw()


@given(seeds)
def test_every_honest_key_is_good(seed: bytes) -> None:
    """Nobody who makes a key properly is refused."""
    assert is_good_exchange_key(X25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())
    assert is_good_signing_key(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())


@pytest.mark.parametrize("point", SMALL_ON_CURVE25519)
@pytest.mark.parametrize("high_bit", [0, 1 << 255])
def test_points_of_small_order_are_no_exchange_keys(point: int, high_bit: int) -> None:
    """With these, everybody would know the shared secret; the high bit that X25519 ignores hides none of them."""
    assert not is_good_exchange_key((point | high_bit).to_bytes(32, "little"))


@given(seeds)
def test_a_second_spelling_of_a_point_is_no_exchange_key(seed: bytes) -> None:
    """X25519 ignores bit 255, so a key with it set is the same point under another name."""
    key = X25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    assert not is_good_exchange_key(key[:-1] + bytes([key[-1] | 0x80]))


@pytest.mark.parametrize("above", range(19))
def test_a_number_that_is_not_below_the_prime_is_no_exchange_key(above: int) -> None:
    """X25519 reduces these to small numbers: two spellings again."""
    assert not is_good_exchange_key((FIELD + above).to_bytes(32, "little"))


@pytest.mark.parametrize("point", SMALL_ON_EDWARDS25519)
def test_points_of_small_order_are_no_signing_keys(point: str) -> None:
    """With these, a signature can be made that holds for any message."""
    assert not is_good_signing_key(bytes.fromhex(point))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_of_another_length_is_none(length: int) -> None:
    """A key is 32 bytes, here too."""
    assert not is_good_exchange_key(PUBLIC[:1] * length)
    assert not is_good_signing_key(PUBLIC[:1] * length)


@given(st.binary(max_size=64))
def test_a_signature_holds_for_its_statement(statement: bytes) -> None:
    """What the key's owner signed is signed."""
    assert is_signed(statement, alice.sign(statement), PUBLIC)


@given(statement=st.binary(min_size=1, max_size=64), bit=st.integers(0, 511), at=st.integers(0, 7))
def test_one_flipped_bit_breaks_a_signature(statement: bytes, bit: int, at: int) -> None:
    """Neither the signature nor the statement can be changed."""
    signature = bytearray(alice.sign(statement))
    signature[bit // 8] ^= 1 << bit % 8
    assert not is_signed(statement, bytes(signature), PUBLIC)
    changed = bytes([statement[0] ^ 1 << at]) + statement[1:]
    assert not is_signed(changed, alice.sign(statement), PUBLIC)


def test_a_signature_under_a_key_of_small_order_never_holds() -> None:
    """The forgery that holds for every message is refused with its key."""
    forged = bytes.fromhex(SMALL_ON_EDWARDS25519[0]) + bytes(32)
    assert not is_signed(b"anything", forged, bytes.fromhex(SMALL_ON_EDWARDS25519[0]))
    assert not is_signed(b"anything", b"", PUBLIC)
