"""One side at a time: turns, keys, agreement, and what is left after a failure."""

import copy
import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from tests.contract.noise.pairs import (
    ALICE,
    BOB,
    IK,
    MALLORY,
    NN,
    XX,
    Pair,
    assert_poisoned,
    finish,
    open_pair,
    open_side,
    steps,
)
from varde_contract.close_codes import CloseCode
from varde_contract.noise import Handshake, KeyPair, NoiseFault, NoiseMisuse


def test_both_sides_agree_and_know_each_other() -> None:
    """After XX each side has the other's static key, and both have one handshake hash."""
    pair = open_pair(XX)
    finish(pair)
    assert pair.both_finished
    assert pair.initiator.remote_static == BOB.public
    assert pair.responder.remote_static == ALICE.public
    assert pair.initiator.handshake_hash == pair.responder.handshake_hash
    assert len(pair.initiator.handshake_hash) == 32


def test_every_handshake_is_another_one() -> None:
    """The same keys and payloads never give the same hash twice: ephemerals are fresh."""
    hashes = set()
    for _ in range(10):
        pair = open_pair(XX)
        finish(pair)
        hashes.add(pair.initiator.handshake_hash)
    assert len(hashes) == 10


def test_turns_alternate() -> None:
    """Exactly one side has the turn until the handshake is finished, then none has."""
    pair = open_pair(XX)
    turns = []
    for _ in steps(pair):
        turns.append((pair.initiator.my_turn, pair.responder.my_turn))
        pair.reader.read_message(pair.writer.write_message())
    assert turns == [(True, False), (False, True), (True, False)]
    assert (pair.initiator.my_turn, pair.responder.my_turn) == (False, False)


def test_the_remote_static_key_is_known_when_it_was_received() -> None:
    """XX reveals the responder with the second message and the initiator with the third; IK knows the responder."""
    pair = open_pair(XX)
    pair.responder.read_message(pair.initiator.write_message())
    for side in pair:
        with pytest.raises(NoiseMisuse, match="not known"):
            _ = side.remote_static
    pair.initiator.read_message(pair.responder.write_message())
    assert pair.initiator.remote_static == BOB.public
    assert open_side(IK, initiator=True).remote_static == BOB.public


def test_a_pattern_without_static_keys_has_none_to_show() -> None:
    """NN authenticates nobody, and says so instead of giving an empty key."""
    pair = open_pair(NN)
    finish(pair)
    with pytest.raises(NoiseMisuse, match="not known"):
        _ = pair.initiator.remote_static


def test_the_hash_is_not_shown_before_the_end() -> None:
    """A hash that does not yet name the whole handshake cannot be had."""
    with pytest.raises(NoiseMisuse, match="not finished"):
        _ = open_side(XX, initiator=True).handshake_hash


def test_the_hash_and_the_static_key_outlive_the_split() -> None:
    """Channel binding and the peer's identity are there after the keys were handed out."""
    pair = open_pair(XX)
    finish(pair)
    before = pair.initiator.handshake_hash
    pair.initiator.split()
    assert pair.initiator.finished
    assert pair.initiator.handshake_hash == before
    assert pair.initiator.remote_static == BOB.public


def test_a_split_handshake_holds_no_secret() -> None:
    """What made the transport keys is dropped with the split."""
    pair = open_pair("Noise_XXpsk3_25519_ChaChaPoly_SHA256")
    finish(pair)
    for side in pair:
        side.split()
        assert not side._own
        assert not side._psks
        assert not side._symmetric._chaining_key
        assert not side._symmetric.has_key


@pytest.mark.parametrize("name", [XX, IK])
def test_out_of_turn_is_our_bug(name: str) -> None:
    """Writing in the peer's turn or reading in ours is NoiseMisuse and ends the handshake."""
    responder = open_side(name, initiator=False)
    with pytest.raises(NoiseMisuse, match="peer's turn"):
        responder.write_message()
    assert_poisoned(responder)
    initiator = open_side(name, initiator=True)
    with pytest.raises(NoiseMisuse, match="our turn"):
        initiator.read_message(bytes(96))
    assert_poisoned(initiator)


def test_writing_twice_is_our_bug() -> None:
    """After a message was written the next one is the peer's, whatever we do."""
    initiator = open_side(XX, initiator=True)
    initiator.write_message()
    with pytest.raises(NoiseMisuse, match="peer's turn"):
        initiator.write_message()
    assert_poisoned(initiator)


def test_a_finished_handshake_takes_no_more_messages() -> None:
    """Reading or writing past the end is NoiseMisuse, and the keys are gone with it."""
    for call in ("write_message", "read_message"):
        pair = open_pair(NN)
        finish(pair)
        with pytest.raises(NoiseMisuse, match="is finished"):
            getattr(pair.initiator, call)(b"")
        assert_poisoned(pair.initiator)


def test_split_needs_the_end_and_happens_once() -> None:
    """Keys of an unfinished handshake cannot be had, nor the same keys twice: two users would share nonces."""
    early = open_side(XX, initiator=True)
    with pytest.raises(NoiseMisuse, match="not finished"):
        early.split()
    assert_poisoned(early)
    pair = open_pair(XX)
    finish(pair)
    pair.initiator.split()
    with pytest.raises(NoiseMisuse, match="already split"):
        pair.initiator.split()
    assert_poisoned(pair.initiator)


def test_a_failure_that_is_not_noise_poisons_too() -> None:
    """Even an argument of the wrong type leaves nothing usable behind."""
    initiator = open_side(XX, initiator=True)
    with pytest.raises(TypeError):
        initiator.write_message("text")  # type: ignore[arg-type]
    assert_poisoned(initiator)
    responder = open_side(XX, initiator=False)
    with pytest.raises(TypeError):
        responder.read_message(7)  # type: ignore[arg-type]
    assert_poisoned(responder)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_octets_can_be_read(kind: type[bytes | bytearray | memoryview]) -> None:
    """A message may come straight from a receive buffer, and the buffer may be used again at once."""
    pair = open_pair(IK)
    buffer = bytearray(pair.initiator.write_message(b"hello"))
    assert pair.responder.read_message(kind(buffer)) == b"hello"
    buffer[:] = bytes(len(buffer))
    assert pair.initiator.read_message(kind(pair.responder.write_message(b"welcome"))) == b"welcome"
    assert pair.responder.remote_static == ALICE.public


@pytest.mark.parametrize("name", [XX, IK, NN, "Noise_KKpsk0_25519_AESGCM_BLAKE2b"])
def test_another_prologue_does_not_agree(name: str) -> None:
    """Two sides with different prologues never finish together."""
    pair = Pair(open_side(name, initiator=True), open_side(name, initiator=False, prologue=b"other"))
    with pytest.raises(NoiseFault):
        finish(pair)
    assert not pair.both_finished


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_another_psk_does_not_agree(place: int) -> None:
    """One wrong bit in a pre-shared key is found out, wherever the pattern mixes it in."""
    name = f"Noise_XXpsk{place}_25519_ChaChaPoly_SHA256"
    right, wrong = bytes(32), b"\1" + bytes(31)
    pair = Pair(
        Handshake(name, initiator=True, s=ALICE, psks=[right]),
        Handshake(name, initiator=False, s=BOB, psks=[wrong]),
    )
    with pytest.raises(NoiseFault, match="did not authenticate"):
        finish(pair)
    assert not pair.both_finished


def test_pre_shared_keys_are_used_in_their_order() -> None:
    """Two psks the other way round are two wrong psks."""
    name = "Noise_NNpsk0+psk2_25519_ChaChaPoly_SHA256"
    one, two = bytes(32), b"\1" * 32
    pair = Pair(
        Handshake(name, initiator=True, psks=[one, two]),
        Handshake(name, initiator=False, psks=[two, one]),
    )
    with pytest.raises(NoiseFault):
        finish(pair)


@pytest.mark.parametrize("pattern", ["IK", "XK", "NK", "KK", "K1K1", "N", "X", "K"])
def test_the_wrong_static_key_of_the_responder_does_not_agree(pattern: str) -> None:
    """Who expects mallory's key cannot be answered by bob."""
    name = f"Noise_{pattern}_25519_ChaChaPoly_SHA256"
    honest = open_side(name, initiator=True)
    mistaken = Handshake(name, initiator=True, prologue=b"test", s=honest._own.get("s"), rs=MALLORY.public)
    pair = Pair(mistaken, open_side(name, initiator=False))
    with pytest.raises(NoiseFault, match="did not authenticate"):
        finish(pair)
    assert not pair.both_finished


def test_different_protocols_do_not_agree() -> None:
    """The name itself is part of what both sides must share."""
    pair = Pair(open_side(XX, initiator=True), open_side("Noise_XX_25519_ChaChaPoly_BLAKE2s", initiator=False))
    with pytest.raises(NoiseFault):
        finish(pair)


@pytest.mark.parametrize(
    ("name", "keys", "reason"),
    [
        (XX, {}, "initiator of this pattern needs a static key pair"),
        (NN, {"s": ALICE}, "does not use a static key pair"),
        (IK, {"s": ALICE}, "needs the peer's static key beforehand"),
        (XX, {"s": ALICE, "rs": BOB.public}, "does not use the peer's static key beforehand"),
        (IK, {"s": ALICE, "rs": BOB.public[:31]}, "is 32 bytes"),
        (IK, {"s": ALICE, "rs": b""}, "is 32 bytes"),
        (XX, {"s": ALICE, "psks": [bytes(32)]}, "takes 0 pre-shared keys"),
        ("Noise_NNpsk0_25519_ChaChaPoly_SHA256", {}, "takes 1 pre-shared keys"),
        ("Noise_NNpsk0_25519_ChaChaPoly_SHA256", {"psks": [bytes(32)] * 2}, "takes 1 pre-shared keys"),
        ("Noise_NNpsk0_25519_ChaChaPoly_SHA256", {"psks": [bytes(31)]}, "of 32 bytes"),
    ],
)
def test_keys_must_fit_the_pattern(name: str, keys: dict[str, object], reason: str) -> None:
    """A missing key is refused, and so is one that the pattern would silently ignore."""
    with pytest.raises(NoiseMisuse, match=reason):
        Handshake(name, initiator=True, **keys)  # type: ignore[arg-type]


def test_a_handshake_cannot_be_copied() -> None:
    """No copy or pickle can repeat an ephemeral key."""
    handshake = open_side(XX, initiator=True)
    for twice in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(NoiseMisuse, match="copied"):
            twice(handshake)


def test_a_fault_of_the_handshake_carries_its_close_code() -> None:
    """The relay closes with the code that tells the client to fetch the static key again."""
    with pytest.raises(NoiseFault) as caught:
        open_side(IK, initiator=False).read_message(bytes(10))
    assert caught.value.close_code is CloseCode.HANDSHAKE_FAILED


def test_a_key_pair_shows_neither_half() -> None:
    """Neither key reaches a log through repr, and pairs are equal by their public halves."""
    pair = KeyPair.generate()
    assert repr(pair) == "KeyPair()"
    again = KeyPair.from_private(pair.private_bytes())
    assert again == pair
    assert len({again, pair, ALICE}) == 2
    assert len(pair.public) == len(pair.private_bytes()) == 32


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_private_key_has_one_length(size: int) -> None:
    """Anything but 32 bytes is our bug."""
    with pytest.raises(NoiseMisuse, match="32 bytes"):
        KeyPair.from_private(bytes(size))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_public_key_has_one_length(size: int) -> None:
    """Fewer bytes than a key are never read as if what lies behind them in memory belonged to it."""
    with pytest.raises(NoiseFault, match="no shared secret"):
        ALICE.exchange(BOB.public.ljust(size, b"\0")[:size])


def test_an_exchange_is_that_of_another_library() -> None:
    """X25519 as OpenSSL has it, whatever the highest bit of the public key says (RFC 7748, section 5)."""
    theirs = X25519PrivateKey.from_private_bytes(BOB.private_bytes())
    assert theirs.public_key().public_bytes_raw() == BOB.public
    for _ in range(20):
        ours = KeyPair.generate()
        wanted = theirs.exchange(X25519PublicKey.from_public_bytes(ours.public))
        flipped = ours.public[:31] + bytes((ours.public[31] ^ 0x80,))
        assert ours.exchange(BOB.public) == BOB.exchange(ours.public) == BOB.exchange(flipped) == wanted
