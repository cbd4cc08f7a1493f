"""Payloads: their size, what they carry, and that nothing but what was written is read. Servers are not involved."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.ledger.ledger import LEAST_BYTES, PayloadCipher, Stamp
from tests.loadtest.ledger.two_ledgers import KEY, RUN
from varde_contract.envelope import Cipher, split_sealed

numbers = st.integers(0, 2**32 - 1)
times = st.integers(-(2**63), 2**63 - 1)


@given(numbers, numbers, numbers, times, times, st.integers(LEAST_BYTES, 2_000))
def test_what_was_written_is_read(sender: int, room: int, seq: int, intended: int, sent: int, size: int) -> None:
    """A payload has exactly the size that was asked for, and gives back its stamp."""
    written = PayloadCipher(KEY, RUN).write(sender, room, seq, intended, sent, size)
    assert len(written) == size
    assert PayloadCipher(KEY).read(written) == Stamp(RUN, sender, room, seq, intended, sent)


@given(st.integers(0, 300 * 8 - 1))
def test_one_wrong_bit_is_seen(bit: int) -> None:
    """A payload with any bit turned, filling included, is undecryptable."""
    written = bytearray(PayloadCipher(KEY).write(1, 2, 3, 4, 5, 300))
    written[bit // 8] ^= 1 << bit % 8
    assert PayloadCipher(KEY).read(bytes(written)) is None


@given(st.binary(max_size=200))
def test_nothing_else_is_read(alien: bytes) -> None:
    """Bytes from elsewhere are undecryptable, whatever their length."""
    assert PayloadCipher(KEY).read(alien) is None


def test_a_payload_cut_short_is_seen() -> None:
    """A payload without its end, or under another key, is undecryptable."""
    written = PayloadCipher(KEY).write(1, 2, 3, 4, 5, 300)
    assert PayloadCipher(KEY).read(written[:-1]) is None
    assert PayloadCipher(os.urandom(32)).read(written) is None


def test_the_same_message_looks_different_each_time() -> None:
    """Two payloads of one message share nothing that a server could compress or recognise."""
    seal = PayloadCipher(KEY)
    assert seal.write(1, 2, 3, 4, 5, 64) != seal.write(1, 2, 3, 4, 5, 64)


def test_a_payload_begins_as_a_message_does() -> None:
    """To a relay each one is a message, never a membership statement, which it refuses from members."""
    seal = PayloadCipher(KEY)
    assert {split_sealed(seal.write(1, 2, 3, 4, 5, 64)).cipher for _ in range(2_000)} == {Cipher.OLM}


def test_a_payload_has_a_least_size() -> None:
    """A size that cannot hold a stamp is refused."""
    with pytest.raises(ValueError, match="at least 64"):
        PayloadCipher(KEY).write(1, 2, 3, 4, 5, LEAST_BYTES - 1)
