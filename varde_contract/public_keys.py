"""Checks of public keys and signatures. Whoever takes a key in from outside asks here first."""

from typing import Final

from nacl import bindings, exceptions

from varde_contract.signed_statements import KEY_BYTES, SIGNATURE_BYTES

_FIELD: Final = 2**255 - 19
# Any scalar finds the points of small order: X25519 clears the cofactor, so they all come out as zero (RFC 7748, 6.1).
_PROBE: Final = bytes(range(1, KEY_BYTES + 1))


def is_good_signing_key(key: bytes) -> bool:
    """Whether an Ed25519 key is a canonical point of the main subgroup: with any other, signatures can be forged."""
    return len(key) == KEY_BYTES and bindings.crypto_core_ed25519_is_valid_point(key)


def is_good_exchange_key(key: bytes) -> bool:
    """Whether a Curve25519 key is canonical, and yields a secret that depends on the other side.

    X25519 ignores bit 255 and reduces what is not below the prime (RFC 7748, section 5), so one point has several
    spellings. Where a key is part of an id, as in an Olm session, a second spelling makes a second id.
    """
    if len(key) != KEY_BYTES or int.from_bytes(key, "little") >= _FIELD:
        return False
    try:
        bindings.crypto_scalarmult(_PROBE, key)
    # libsodium says so of an all-zero secret: the point is of small order.
    except exceptions.RuntimeError:
        return False
    return True


def is_signed(statement: bytes, signature: bytes, signing_key: bytes) -> bool:
    """Whether `signature` is the Ed25519 signature of `signing_key` over `statement`."""
    if len(signature) != SIGNATURE_BYTES or not is_good_signing_key(signing_key):
        return False
    try:
        bindings.crypto_sign_open(signature + statement, signing_key)
    except exceptions.BadSignatureError:
        return False
    return True
