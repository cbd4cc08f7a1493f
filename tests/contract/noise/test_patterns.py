"""The table of patterns and the reading of names: every pattern is sound, and what is not there is refused by name."""

import itertools

import pytest

from tests.contract.noise.pairs import assert_transport_ended, connect, finish, open_pair
from varde_contract.noise import NoiseMisuse
from varde_contract.noise.patterns import PATTERNS, Pattern
from varde_contract.noise.protocol_name import read_name

FUNDAMENTAL = {first + second for first in "NKXI" for second in "NKX"}
ONE_WAY = {"N", "K", "X"}
INITIATOR, RESPONDER = True, False


def variants(name: str) -> list[str]:
    """The pattern alone, with each psk modifier it has a place for, and with all of them at once."""
    places = [f"psk{place}" for place in range(len(PATTERNS[name].messages) + 1)]
    return [name, *(name + place for place in places), name + "+".join(places)]


VARIANTS = [variant for name in PATTERNS for variant in variants(name)]


def full(pattern: str) -> str:
    """A protocol name around the pattern."""
    return f"Noise_{pattern}_25519_ChaChaPoly_BLAKE2s"


class Ledger:
    """What each side has revealed and mixed so far, judged by the validity rules of sections 7.3 and 9.3."""

    def __init__(self, pattern: Pattern) -> None:
        self.has = {side: {"s"} if pattern.known(initiator=side) else set[str]() for side in (INITIATOR, RESPONDER)}
        self.mixed: list[str] = []

    def token(self, side: bool, token: str) -> None:  # noqa: FBT001 - the side is the key of the ledger
        """One token, written by that side."""
        if len(token) == 1:
            assert token not in self.has[side], "a key is sent once"
            self.has[side].add(token)
        elif token != "psk":
            assert token not in self.mixed, "a Diffie-Hellman is done once"
            assert token[0] in self.has[INITIATOR], "the initiator's key is known by now"
            assert token[1] in self.has[RESPONDER], "the responder's key is known by now"
        self.mixed.append(token)

    def payload(self, side: bool) -> None:  # noqa: FBT001 - the side is the key of the ledger
        """That side may encrypt: its own fresh ephemeral stands behind every static secret and psk."""
        cover = {"se": "ee", "ss": "es"} if side is INITIATOR else {"es": "ee", "ss": "se"}
        for static, fresh in cover.items():
            assert static not in self.mixed or fresh in self.mixed
        assert "psk" not in self.mixed or "e" in self.has[side]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_pattern_keeps_the_validity_rules(variant: str) -> None:
    """No row of the table, with any psk, breaks a validity rule of the specification."""
    pattern = read_name(full(variant)).pattern
    ledger = Ledger(pattern)
    for message, side in zip(pattern.messages, itertools.cycle((INITIATOR, RESPONDER))):
        for token in message:
            ledger.token(side, token)
        ledger.payload(side)
    assert pattern.psks == variant.count("psk")


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_pattern_finishes_and_carries_messages(variant: str) -> None:
    """Both sides of every pattern, with any psk, agree on the hash and understand each other afterwards."""
    pair = open_pair(full(variant))
    finish(pair)
    assert pair.initiator.handshake_hash == pair.responder.handshake_hash
    ours, theirs = pair.initiator.split(), pair.responder.split()
    assert theirs.open(ours.seal(b"forth")) == b"forth"
    if not pair.initiator._named.pattern.one_way:
        assert ours.open(theirs.seal(b"back")) == b"back"


def test_the_table_holds_what_is_promised() -> None:
    """Twelve fundamental, three one-way and twenty-three deferred patterns, and no more."""
    deferred = set(PATTERNS) - FUNDAMENTAL - ONE_WAY
    assert set(PATTERNS) > FUNDAMENTAL | ONE_WAY
    assert len(deferred) == 23
    assert {name.replace("1", "") for name in deferred} <= FUNDAMENTAL


@pytest.mark.parametrize("name", sorted(ONE_WAY))
def test_a_one_way_pattern_refuses_the_way_back(name: str) -> None:
    """After N, K or X the responder cannot seal and the initiator cannot open, and trying ends the transport."""
    ours, theirs = connect(full(name))
    sealed = ours.seal(b"forth")
    with pytest.raises(NoiseMisuse, match="one-way"):
        _ = ours.incoming_nonce
    with pytest.raises(NoiseMisuse, match="one-way"):
        _ = theirs.outgoing_nonce
    with pytest.raises(NoiseMisuse, match="one-way"):
        theirs.seal(b"back")
    with pytest.raises(NoiseMisuse, match="one-way"):
        ours.open(sealed)
    assert_transport_ended(ours)
    assert_transport_ended(theirs)


@pytest.mark.parametrize("name", sorted(ONE_WAY))
def test_a_one_way_pattern_refuses_to_rekey_what_is_not_there(name: str) -> None:
    """There is no key to go on from in the direction that a one-way pattern lacks."""
    ours, theirs = connect(full(name))
    for call in (ours.rekey_incoming, theirs.rekey_outgoing):
        with pytest.raises(NoiseMisuse, match="one-way"):
            call()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "protocol name reads"),
        ("XX", "protocol name reads"),
        ("Noise_XX_25519_ChaChaPoly", "protocol name reads"),
        ("Noise_XX_25519_ChaChaPoly_SHA256_", "protocol name reads"),
        ("noise_XX_25519_ChaChaPoly_SHA256", "protocol name reads"),
        (f"Noise_{'X' * 255}_25519_ChaChaPoly_SHA256", "protocol name reads"),
        ("Noise_XX_448_ChaChaPoly_SHA256", "Diffie-Hellman function '448'"),
        ("Noise_XX_25519_XChaChaPoly_SHA256", "cipher 'XChaChaPoly'"),
        ("Noise_XX_25519_ChaChaPoly_SHA3", "hash 'SHA3'"),
        ("Noise_ZZ_25519_ChaChaPoly_SHA256", "pattern 'ZZ'"),
        ("Noise_X2X_25519_ChaChaPoly_SHA256", "pattern 'X2X'"),
        ("Noise_xx_25519_ChaChaPoly_SHA256", "malformed Noise pattern"),
        ("Noise__25519_ChaChaPoly_SHA256", "malformed Noise pattern"),
        ("Noise_XX-psk3_25519_ChaChaPoly_SHA256", "malformed Noise pattern"),
        ("Noise_XXfallback_25519_ChaChaPoly_SHA256", "modifier 'fallback'"),
        ("Noise_XXhfs_25519_ChaChaPoly_SHA256", "modifier 'hfs'"),
        ("Noise_XXpsk_25519_ChaChaPoly_SHA256", "modifier 'psk'"),
        ("Noise_XXpsk12_25519_ChaChaPoly_SHA256", "modifier 'psk12'"),
        ("Noise_XXpsk4_25519_ChaChaPoly_SHA256", "a message it does not have"),
        ("Noise_NNpsk3_25519_ChaChaPoly_SHA256", "a message it does not have"),
        ("Noise_XXpsk0+psk0_25519_ChaChaPoly_SHA256", "differ and be sorted"),
        ("Noise_XXpsk3+psk0_25519_ChaChaPoly_SHA256", "differ and be sorted"),
        ("Noise_XXpsk3+_25519_ChaChaPoly_SHA256", "differ and be sorted"),
    ],
)
def test_an_unsupported_name_says_what_is_missing(name: str, reason: str) -> None:
    """A name that cannot be served is refused with the part that is at fault."""
    with pytest.raises(NoiseMisuse, match=reason):
        read_name(name)
