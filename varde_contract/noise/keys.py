"""X25519 key pairs: the one Diffie-Hellman function of this Noise (specification, section 12.1)."""

from dataclasses import dataclass, field
from typing import Final, Self

from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base, randombytes
from nacl.exceptions import RuntimeError as NoSecret

from varde_contract.errors import NoiseFault, NoiseMisuse

KEY_BYTES: Final = 32
PSK_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A static or ephemeral key pair. Two are equal when their public keys are."""

    _private: bytes = field(repr=False, compare=False)
    public: bytes = field(init=False, repr=False)
    """32 bytes, as they travel."""

    def __post_init__(self) -> None:
        if len(self._private) != KEY_BYTES:
            raise NoiseMisuse(f"an X25519 private key is {KEY_BYTES} bytes")
        object.__setattr__(self, "public", crypto_scalarmult_base(self._private))

    @classmethod
    def generate(cls) -> Self:
        """A fresh pair from the operating system's randomness."""
        return cls(randombytes(KEY_BYTES))

    @classmethod
    def from_private(cls, private: bytes) -> Self:
        """The pair of a 32-byte private key; raises NoiseMisuse for any other length."""
        return cls(bytes(private))

    def private_bytes(self) -> bytes:
        """The 32 secret bytes, for a key file or a sealed store and for nothing else."""
        return self._private

    def exchange(self, public: bytes) -> bytes:
        """The 32-byte shared secret with a peer's 32-byte public key.

        Raises NoiseFault when the secret is all zero, which the peer alone can cause (RFC 7748, section 6.1), and for
        any other length.
        """
        # libsodium reads 32 bytes, whatever it is given.
        if len(public) == KEY_BYTES:
            try:
                # It refuses the all-zero secret itself, in constant time; the tests hold it to every low-order point.
                return crypto_scalarmult(self._private, public)
            except NoSecret:
                pass
        raise NoiseFault("the peer's public key leads to no shared secret")
