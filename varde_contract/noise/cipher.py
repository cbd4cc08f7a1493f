"""CipherState during a handshake: one key, one counter (section 5.1)."""

from cryptography.exceptions import InvalidTag

from varde_contract.noise.errors import NoiseFault, NoiseMisuse
from varde_contract.noise.primitives import RESERVED_NONCE, Cipher


class CipherState:
    """A keyed cipher that never uses a nonce twice; made anew for each MixKey."""

    __slots__ = ("_aead", "_nonce", "_pack_nonce")

    def __init__(self, cipher: Cipher, key: bytes) -> None:
        self._aead = cipher.keyed(key)
        self._pack_nonce = cipher.pack_nonce
        self._nonce = 0

    def encrypt_with_ad(self, associated: bytes, plaintext: bytes) -> bytes:
        """Ciphertext and its 16-byte tag, bound to the associated bytes."""
        return self._aead.encrypt(self._take_nonce(), plaintext, associated)

    def decrypt_with_ad(self, associated: bytes, ciphertext: bytes) -> bytes:
        """The plaintext; raises NoiseFault when the tag or the associated bytes do not fit."""
        try:
            return self._aead.decrypt(self._take_nonce(), ciphertext, associated)
        except InvalidTag:
            raise NoiseFault("a handshake message did not authenticate") from None

    def _take_nonce(self) -> bytes:
        if self._nonce >= RESERVED_NONCE:
            raise NoiseMisuse("the nonces of this key are exhausted")
        self._nonce += 1
        return self._pack_nonce(self._nonce - 1)
