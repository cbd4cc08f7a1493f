"""The bytes that are signed: prekeys, sessions. Both sides build them here, so that they agree.

Every statement begins with a label of its own (domain separation), so that a signature over one can never pass for
another; every field has a fixed length, so that no two statements share their bytes.
"""

from varde_contract.ids import DeviceId, SessionId

KEY_BYTES = 32
KEM_KEY_BYTES = 1_216
"""ML-KEM-768 has 1,184 of them, X25519 the rest."""
SIGNATURE_BYTES = 64

_ONE_TIME = b"varde.v2 one-time key\x00"
_FALLBACK = b"varde.v2 fallback key\x00"
_SESSION = b"varde.v2 device session\x00"


def one_time_key_statement(device: DeviceId, key: bytes, kem_key: bytes) -> bytes:
    """Return what a device's signing key signs for a one-time key: Curve25519 and KEM key together."""
    return _ONE_TIME + device.bytes + _exact(key) + _exact(kem_key, KEM_KEY_BYTES)


def fallback_key_statement(device: DeviceId, key: bytes, kem_key: bytes) -> bytes:
    """Return what a device's signing key signs for its fallback key, the same two."""
    return _FALLBACK + device.bytes + _exact(key) + _exact(kem_key, KEM_KEY_BYTES)


def session_statement(session: SessionId, device: DeviceId) -> bytes:
    """Return what a device's signing key signs to come back in a new session. It is good for that session only."""
    return _SESSION + session.bytes + device.bytes


def _exact(key: bytes, size: int = KEY_BYTES) -> bytes:
    if len(key) != size:
        raise ValueError(f"a key has {size} bytes")
    return key
