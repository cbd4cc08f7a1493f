"""The account's root key: made from 24 words that only the person has, compared by two people as a safety number."""

import hashlib
import unicodedata

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from mnemonic import Mnemonic

from varde.errors import WrongPhrase
from varde_contract.ids import AccountId

STRENGTH_BITS = 256
"""24 words of BIP 39: eleven bits each, eight of the 264 are the checksum."""
SEED_BYTES = 32

ROUNDS = 5_200
"""Hashes per digit group: what one attempt to find a root key with similar digits costs."""
GROUPS_EACH = 6
GROUP_BYTES = 5
"""2^40 is so much more than 100,000 that no group of digits is likelier than another by more than one in ten
million."""
GROUP_DIGITS = 5

_LABEL = b"varde.v1 safety number\x00"

_words = Mnemonic("english")


def new_phrase() -> str:
    """Return 24 fresh words of the BIP 39 list: 256 bits and a checksum."""
    return str(_words.generate(STRENGTH_BITS))


def root_key_of(phrase: str) -> Ed25519PrivateKey:
    """Return the root key of a phrase: HKDF-SHA256 (RFC 5869) of the BIP 39 seed. Raises WrongPhrase."""
    # As people type them: capitals, line breaks, and accents of a keyboard that composes them.
    words = unicodedata.normalize("NFKD", phrase).lower().split()
    if len(words) != STRENGTH_BITS * 3 // 32 or not _words.check(" ".join(words)):
        raise WrongPhrase("these are not 24 words that belong together")
    seed = Mnemonic.to_seed(" ".join(words))
    derived = HKDF(algorithm=SHA256(), length=SEED_BYTES, salt=None, info=b"varde.v1 root key").derive(seed)
    return Ed25519PrivateKey.from_private_bytes(derived)


def safety_number(one: tuple[AccountId, bytes], other: tuple[AccountId, bytes]) -> str:
    """Return the digits of two accounts with their root keys, in groups of five, the same from both sides."""
    return " ".join(sorted((_digits(*one), _digits(*other))))


def _digits(account: AccountId, root_key: bytes) -> str:
    # Iterated, because people compare a part of it: to find a key with similar digits must cost more than it is worth.
    digest = statement = _LABEL + account.bytes + root_key
    for _ in range(ROUNDS):
        digest = hashlib.sha512(digest + statement).digest()
    groups = (digest[start : start + GROUP_BYTES] for start in range(0, GROUPS_EACH * GROUP_BYTES, GROUP_BYTES))
    return " ".join(f"{int.from_bytes(group, 'big') % 10**GROUP_DIGITS:0{GROUP_DIGITS}}" for group in groups)
