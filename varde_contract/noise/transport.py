"""The two keys that a finished handshake leaves behind: seal what we send, open what we receive (section 5)."""

from typing import Final, NoReturn

from cryptography.exceptions import InvalidTag

from varde_contract.close_codes import CloseCode
from varde_contract.errors import NoiseFault, NoiseMisuse
from varde_contract.limits import NOISE_MESSAGE_BYTES, NOISE_TAG_BYTES, PLAINTEXT_BYTES
from varde_contract.noise.primitives import RESERVED_NONCE, Aead, Cipher, Octets

# Counters that no message reaches: one comparison on the hot path then stands for every reason to refuse.
_POISONED: Final = RESERVED_NONCE + 1
_ONE_WAY: Final = RESERVED_NONCE + 2

_REFUSALS: Final = {
    RESERVED_NONCE: "the nonces of this direction are exhausted",
    _POISONED: "this transport has failed; start a new handshake",
    _ONE_WAY: "the pattern is one-way: nothing travels in this direction",
}


class _NoKey:
    """Stands where a key is missing, so that no mistake in counting can seal under a key that should be gone."""

    def encrypt(self, *_: object) -> NoReturn:
        raise NoiseMisuse("there is no key for this direction")

    decrypt = encrypt


_NO_KEY: Final = _NoKey()


class Transport:
    """One connection's keys and counters, made by `Handshake.split`.

    One flat object instead of two cipher states, because a node holds ten thousand and `seal` runs for every delivery.
    """

    __slots__ = ("_cipher", "_incoming_nonce", "_opening", "_outgoing_nonce", "_pack_nonce", "_sealing")

    def __init__(self, cipher: Cipher, *, outgoing: bytes | None, incoming: bytes | None) -> None:
        """Take the 32-byte keys; None in the direction that a one-way pattern does not have."""
        self._cipher = cipher
        self._pack_nonce = cipher.pack_nonce
        self._sealing: Aead = cipher.keyed(outgoing) if outgoing else _NO_KEY
        self._opening: Aead = cipher.keyed(incoming) if incoming else _NO_KEY
        self._outgoing_nonce = 0 if outgoing else _ONE_WAY
        self._incoming_nonce = 0 if incoming else _ONE_WAY

    def seal(self, plaintext: Octets) -> bytes:
        """The Noise message for at most 65,519 bytes, 16 bytes longer. Messages must be sent in the order of sealing.

        Raises NoiseMisuse for more bytes, after a failure, against the direction, and at nonce 2**64 - 1.
        """
        nonce = self._outgoing_nonce
        try:
            if nonce < RESERVED_NONCE and len(plaintext) <= PLAINTEXT_BYTES:
                # Counted before sealing: an interrupt in between wastes a nonce, the other order would repeat one.
                self._outgoing_nonce = nonce + 1
                return self._sealing.encrypt(self._pack_nonce(nonce), plaintext, None)
        except BaseException:
            self._poison()
            raise
        self._require(nonce)
        self._poison()
        raise NoiseMisuse(f"a transport message holds at most {PLAINTEXT_BYTES} bytes")

    def open(self, ciphertext: Octets) -> bytes:
        """The plaintext of the next Noise message.

        Raises NoiseFault for a message that is too short, too long, forged, repeated or out of order; NoiseMisuse after
        a failure, against the direction, and at nonce 2**64 - 1.
        """
        nonce = self._incoming_nonce
        try:
            if nonce < RESERVED_NONCE and NOISE_TAG_BYTES <= len(ciphertext) <= NOISE_MESSAGE_BYTES:
                self._incoming_nonce = nonce + 1
                return self._opening.decrypt(self._pack_nonce(nonce), ciphertext, None)
        except InvalidTag:
            self._poison()
            raise NoiseFault("a transport message did not authenticate", CloseCode.PROTOCOL_ERROR) from None
        except BaseException:
            self._poison()
            raise
        self._require(nonce)
        self._poison()
        raise NoiseFault("a transport message was too short or too long", CloseCode.PROTOCOL_ERROR)

    def rekey_outgoing(self) -> None:
        """Go on under the next sending key (section 11.3); the peer must rekey at the same message. Counters run on."""
        self._require(self._outgoing_nonce)
        self._sealing = self._cipher.rekeyed(self._sealing)

    def rekey_incoming(self) -> None:
        """Go on under the next receiving key; see `rekey_outgoing`."""
        self._require(self._incoming_nonce)
        self._opening = self._cipher.rekeyed(self._opening)

    @property
    def outgoing_nonce(self) -> int:
        """How many messages were sealed; NoiseMisuse where there is no such direction, or no longer."""
        return self._shown(self._outgoing_nonce)

    @property
    def incoming_nonce(self) -> int:
        """How many messages were opened; NoiseMisuse where there is no such direction, or no longer."""
        return self._shown(self._incoming_nonce)

    def __reduce__(self) -> NoReturn:
        """Refuse copies and pickles: two transports with one counter would use a nonce twice."""
        raise NoiseMisuse("a transport cannot be copied")

    def _require(self, nonce: int) -> None:
        if nonce in _REFUSALS:
            self._poison()
            raise NoiseMisuse(_REFUSALS[nonce])

    @staticmethod
    def _shown(nonce: int) -> int:
        if nonce > RESERVED_NONCE:
            raise NoiseMisuse(_REFUSALS[nonce])
        return nonce

    def _poison(self) -> None:
        self._sealing = self._opening = _NO_KEY
        self._outgoing_nonce = self._incoming_nonce = _POISONED
