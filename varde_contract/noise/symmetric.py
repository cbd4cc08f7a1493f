"""CipherState (section 5.1) and SymmetricState (section 5.2): what both sides of a handshake hold identically."""

from cryptography.exceptions import InvalidTag

from varde_contract.errors import NoiseFault, NoiseMisuse
from varde_contract.noise.primitives import CIPHER_KEY_BYTES, RESERVED_NONCE, Cipher
from varde_contract.noise.protocol_name import ProtocolName


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


class SymmetricState:
    """The half of the handshake that both sides hold identically, as long as nobody interfered."""

    __slots__ = ("_chaining_key", "_cipher", "_hash", "_key", "handshake_hash")

    def __init__(self, named: ProtocolName) -> None:
        self._cipher, self._hash = named.cipher, named.hash
        # As InitializeSymmetric says (section 5.2): a short name is padded, a long one hashed.
        fits = len(named.name) <= named.hash.size
        self.handshake_hash = named.name.ljust(named.hash.size, b"\0") if fits else named.hash.digest(named.name)
        self._chaining_key = self.handshake_hash
        self._key: CipherState | None = None

    @property
    def has_key(self) -> bool:
        """Whether what is said from here on is encrypted."""
        return self._key is not None

    def mix_hash(self, content: bytes) -> None:
        """Bind the content to everything that follows."""
        self.handshake_hash = self._hash.digest(self.handshake_hash + content)

    def mix_key(self, material: bytes) -> None:
        """Let new key material into the chaining key, and go on under a new key."""
        self._chaining_key, key = self._hash.hkdf(self._chaining_key, material, 2)
        self._key = CipherState(self._cipher, key[:CIPHER_KEY_BYTES])

    def mix_key_and_hash(self, material: bytes) -> None:
        """The same for a pre-shared key, which is bound into the hash as well (section 9.2)."""
        self._chaining_key, hashed, key = self._hash.hkdf(self._chaining_key, material, 3)
        self.mix_hash(hashed)
        self._key = CipherState(self._cipher, key[:CIPHER_KEY_BYTES])

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        """What goes on the wire: ciphertext once there is a key, the plaintext itself before."""
        sent = self._key.encrypt_with_ad(self.handshake_hash, plaintext) if self._key else plaintext
        self.mix_hash(sent)
        return sent

    def decrypt_and_hash(self, received: bytes) -> bytes:
        """The plaintext of what came from the wire; raises NoiseFault when it does not authenticate."""
        plaintext = self._key.decrypt_with_ad(self.handshake_hash, received) if self._key else received
        self.mix_hash(received)
        return plaintext

    def split(self) -> tuple[bytes, bytes]:
        """The transport keys, the initiator's sending key first; the state forgets how they were made."""
        first, second = self._hash.hkdf(self._chaining_key, b"", 2)
        self.forget()
        return first[:CIPHER_KEY_BYTES], second[:CIPHER_KEY_BYTES]

    def forget(self) -> None:
        """Drop every secret; the handshake hash, which is public, stays."""
        self._chaining_key = b""
        self._key = None
