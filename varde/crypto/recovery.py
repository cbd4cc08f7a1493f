"""The account's root key: an Ed25519 key made from 24 words that only the person has."""

import unicodedata

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from mnemonic import Mnemonic

from varde.errors import WrongPhrase

STRENGTH_BITS = 256
SEED_BYTES = 32

_words = Mnemonic("english")


def new_phrase() -> str:
    """Return 24 fresh words of the BIP 39 list: 256 bits and a checksum."""
    return str(_words.generate(STRENGTH_BITS))


def root_key_of(phrase: str) -> Ed25519PrivateKey:
    """Return the root key of a phrase: HKDF-SHA256 (RFC 5869) of the BIP 39 seed. Raises WrongPhrase."""
    words = unicodedata.normalize("NFKD", phrase).lower().split()
    if len(words) != STRENGTH_BITS * 3 // 32 or not _words.check(" ".join(words)):
        raise WrongPhrase("these are not 24 words that belong together")
    seed = Mnemonic.to_seed(" ".join(words))
    derived = HKDF(algorithm=SHA256(), length=SEED_BYTES, salt=None, info=b"varde.v1 root key").derive(seed)
    return Ed25519PrivateKey.from_private_bytes(derived)
