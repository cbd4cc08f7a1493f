"""The account's root key: made from 24 words that only the person has, compared by two people as a safety number."""

import hashlib
import re
import unicodedata
from difflib import get_close_matches

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from mnemonic import Mnemonic

from varde.errors import WrongPhrase, WrongWord
from varde_contract.ids import AccountId

STRENGTH_BITS = 256
"""24 words of BIP 39: eleven bits each, eight of the 264 are the checksum."""
PHRASE_WORDS = 24
NEAR_WORDS = 3
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
_WORD = re.compile(r"[^\W\d_]+")
_INVISIBLE = re.compile("[\u00ad\u0300-\u036f\u200b-\u200f\u2060\ufeff]")


def new_phrase() -> str:
    """Return 24 fresh words of the BIP 39 list: 256 bits and a checksum."""
    return str(_words.generate(STRENGTH_BITS))


def check_phrase(typed: str) -> str:
    """Return the 24 words of a phrase as somebody typed or pasted it: with numbers, commas, hyphens, capitals.

    Raises WrongWord for the first one that is in no phrase, WrongPhrase when they are too few, too many, or do not
    belong together.
    """
    # Compatibility forms and accents of a keyboard that composes; what has no width and is pasted along.
    folded = _INVISIBLE.sub("", unicodedata.normalize("NFKD", typed)).lower()
    words = _WORD.findall(folded)
    known = set(_words.wordlist)
    for number, word in enumerate(words, start=1):
        if word not in known:
            raise WrongWord(number, tuple(words), tuple(get_close_matches(word, _words.wordlist, NEAR_WORDS)))
    if len(words) != PHRASE_WORDS:
        raise WrongPhrase(f"these are {len(words)} words, and a recovery phrase has {PHRASE_WORDS}")
    if not _words.check(" ".join(words)):
        advice = "compare them with the paper: one is another word, or two have changed places"
        raise WrongPhrase("these 24 words do not belong together", advice=advice)
    return " ".join(words)


def root_key_of(phrase: str) -> Ed25519PrivateKey:
    """Return the root key of a phrase: HKDF-SHA256 (RFC 5869) of the BIP 39 seed. Raises WrongPhrase."""
    seed = Mnemonic.to_seed(check_phrase(phrase))
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
