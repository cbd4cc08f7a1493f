"""A Noise protocol name, read into what it stands for (section 8): "Noise_XXpsk3_25519_ChaChaPoly_SHA256"."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeVar

from varde_contract.errors import NoiseMisuse
from varde_contract.noise.keys import KeyPair
from varde_contract.noise.patterns import PATTERNS, Pattern
from varde_contract.noise.primitives import CIPHERS, HASHES, Cipher, Hash

CURVES: Final = {"25519": KeyPair}
NAME_BYTES: Final = 255
"""Noise, section 8."""

_PATTERN: Final = re.compile(r"([A-Z0-9]+)([a-z][a-z0-9+]*)?", re.ASCII)
_PSK: Final = re.compile(r"psk([0-9])", re.ASCII)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ProtocolName:
    """What a protocol name stands for."""

    name: bytes
    pattern: Pattern
    cipher: Cipher
    hash: Hash


@lru_cache(maxsize=64)
def read_name(name: str) -> ProtocolName:
    """Read a protocol name; raises NoiseMisuse that says which part is malformed or not implemented."""
    parts = name.split("_")
    if len(parts) != 5 or parts[0] != "Noise" or len(name) > NAME_BYTES:  # noqa: PLR2004 - the five parts of section 8
        raise NoiseMisuse("a protocol name reads Noise_PATTERN_DH_CIPHER_HASH, at most 255 characters")
    _, pattern, curve, cipher, digest = parts
    _find("Diffie-Hellman function", curve, CURVES)
    return ProtocolName(
        name=name.encode(),
        pattern=_read_pattern(pattern),
        cipher=_find("cipher", cipher, CIPHERS),
        hash=_find("hash", digest, HASHES),
    )


def _read_pattern(text: str) -> Pattern:
    found = _PATTERN.fullmatch(text)
    if found is None:
        raise NoiseMisuse(f"malformed Noise pattern {text!r}")
    pattern = _find("pattern", found[1], PATTERNS)
    modifiers = found[2].split("+") if found[2] else []
    if modifiers != sorted(set(modifiers)):
        # Section 8: modifiers whose order means nothing are sorted, or two names would mean one protocol.
        raise NoiseMisuse(f"the modifiers of {text!r} must differ and be sorted")
    for modifier in modifiers:
        pattern = _modify(pattern, modifier, text)
    return pattern


def _modify(pattern: Pattern, modifier: str, text: str) -> Pattern:
    psk = _PSK.fullmatch(modifier)
    if psk is None:
        raise NoiseMisuse(f"unsupported modifier {modifier!r} in Noise pattern {text!r}: only psk0 to psk4 are")
    try:
        return pattern.with_psk(int(psk[1]))
    except IndexError:
        raise NoiseMisuse(f"{modifier} of Noise pattern {text!r} names a message it does not have") from None


def _find(kind: str, name: str, table: dict[str, _T]) -> _T:
    if name not in table:
        raise NoiseMisuse(f"unsupported Noise {kind} {name!r}; there are: {', '.join(table)}")
    return table[name]
