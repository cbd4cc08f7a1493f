"""The post-quantum KEM of prekeys: what is encapsulated to a key opens with it, for its purpose, and nowhere else."""

import pytest

from varde_contract.errors import PeerFault
from varde_contract.kem import ENCAPSULATED_BYTES, MLKEM_KEY_BYTES, KemKeyPair, encapsulate, is_good_kem_key
from varde_contract.signed_statements import KEM_KEY_BYTES

PAIR = KemKeyPair.from_private(bytes(range(96)))
HIGH_BIT = 0x80


def test_a_secret_arrives() -> None:
    """Both ends have the same secret, another one each time."""
    secret, encapsulated = encapsulate(PAIR.public, b"purpose")
    again, _ = encapsulate(PAIR.public, b"purpose")
    assert PAIR.decapsulate(encapsulated, b"purpose") == secret != again
    assert (len(secret), len(encapsulated), len(PAIR.public)) == (32, ENCAPSULATED_BYTES, KEM_KEY_BYTES)


@pytest.mark.parametrize("at", [0, 1_087, 1_088, 1_119, 1_120, ENCAPSULATED_BYTES - 1])
def test_a_changed_encapsulation_opens_nothing(at: int) -> None:
    """Every part is bound: the ML-KEM ciphertext, the ephemeral key with its highest bit, and the secret itself."""
    _, encapsulated = encapsulate(PAIR.public, b"purpose")
    bent = bytearray(encapsulated)
    bent[at] ^= HIGH_BIT
    with pytest.raises(PeerFault, match="another key or purpose"):
        PAIR.decapsulate(bytes(bent), b"purpose")


def test_another_purpose_or_key_opens_nothing() -> None:
    """What was meant for somebody else, or for something else, is no secret here."""
    _, encapsulated = encapsulate(PAIR.public, b"purpose")
    for pair, info in ((PAIR, b"another"), (KemKeyPair.generate(), b"purpose")):
        with pytest.raises(PeerFault):
            pair.decapsulate(encapsulated, info)
    for wrong in (b"", encapsulated[:-1], encapsulated + b"\x00"):
        with pytest.raises(PeerFault, match="length"):
            PAIR.decapsulate(wrong, b"purpose")


def test_only_a_good_public_key_is_taken() -> None:
    """Both halves are judged: reduced coefficients of ML-KEM, and a canonical point that leads to a secret."""
    mlkem, x25519 = PAIR.public[:MLKEM_KEY_BYTES], PAIR.public[MLKEM_KEY_BYTES:]
    assert is_good_kem_key(PAIR.public)
    bad = (
        mlkem + bytes(32),
        mlkem + x25519[:31] + bytes((x25519[31] | HIGH_BIT,)),
        b"\xff" * MLKEM_KEY_BYTES + x25519,
        PAIR.public[:-1],
        PAIR.public + b"\x00",
    )
    assert not any(map(is_good_kem_key, bad))
