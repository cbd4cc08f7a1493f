"""The post-quantum KEM of prekeys: what is encapsulated to a key opens with it, for its purpose, and nowhere else."""

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from nacl import bindings

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


def labeled_extract(suite: bytes, label: bytes, material: bytes) -> bytes:
    """LabeledExtract of RFC 9180, section 4, without a salt."""
    return hmac.digest(b"", b"HPKE-v1" + suite + label + material, "sha256")


def labeled_expand(suite: bytes, key: bytes, label: bytes, info: bytes, size: int) -> bytes:
    """LabeledExpand of RFC 9180, section 4, of one block."""
    labeled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(key, labeled + b"\x01", "sha256")[:size]


def test_an_independent_hpke_agrees() -> None:
    """X-Wing and HPKE written down from their specifications open what was encapsulated: as `docs/envelope.md` says."""
    secret, encapsulated = encapsulate(PAIR.public, b"purpose")
    sent, ephemeral, sealed = encapsulated[:1_088], encapsulated[1_088:1_120], encapsulated[1_120:]
    private = PAIR.private_bytes()
    mlkem = MLKEM768PrivateKey.from_seed_bytes(private[:64]).decapsulate(sent)
    x25519 = bindings.crypto_scalarmult(private[64:], ephemeral)
    label = bytes.fromhex("5c2e2f2f5e5c")
    shared = hashlib.sha3_256(mlkem + x25519 + ephemeral + PAIR.public[MLKEM_KEY_BYTES:] + label).digest()
    suite = b"HPKE" + bytes.fromhex("647a00010003")
    context = b"\x00" + labeled_extract(suite, b"psk_id_hash", b"") + labeled_extract(suite, b"info_hash", b"purpose")
    schedule = hmac.digest(shared, b"HPKE-v1" + suite + b"secret", "sha256")
    key = labeled_expand(suite, schedule, b"key", context, 32)
    nonce = labeled_expand(suite, schedule, b"base_nonce", context, 12)
    assert ChaCha20Poly1305(key).decrypt(nonce, sealed, b"") == secret
