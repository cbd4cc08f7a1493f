"""Ids are UUIDv7 as RFC 9562 has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varde_contract.ids import ENTROPY_BYTES, uuid7

LAST_MS = 2**48 - 1
times = st.integers(0, LAST_MS)
entropies = st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES)


def test_the_example_of_the_rfc() -> None:
    """RFC 9562 appendix A.6 comes out of its own ingredients."""
    entropy = (0xCC3).to_bytes(2, "big") + (0x18C4DC0C0C07398F).to_bytes(8, "big")
    assert str(uuid7(0x017F22E279B0, entropy)) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@given(times, entropies)
def test_version_variant_and_time_are_where_they_belong(now_ms: int, entropy: bytes) -> None:
    """Every id says version 7, the variant of RFC 9562, and its millisecond."""
    made = uuid7(now_ms, entropy)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == now_ms


@given(times, entropies)
def test_all_but_six_bits_of_the_entropy_count(now_ms: int, entropy: bytes) -> None:
    """Nothing of the 80 random bits is lost but the six where version and variant stand."""
    fixed = 0xF << 76 | 0b11 << 62
    assert (uuid7(now_ms, entropy).int ^ int.from_bytes(entropy, "big")) & (2**80 - 1) & ~fixed == 0


@given(times.filter(lambda now: now < LAST_MS), entropies, entropies)
def test_later_ids_sort_after_earlier_ones(now_ms: int, one: bytes, other: bytes) -> None:
    """Whatever the chance, the next millisecond sorts behind this one, as bytes and as text."""
    earlier, later = uuid7(now_ms, one), uuid7(now_ms + 1, other)
    assert earlier.bytes < later.bytes
    assert str(earlier) < str(later)


@pytest.mark.parametrize("size", [0, ENTROPY_BYTES - 1, ENTROPY_BYTES + 1, 16])
def test_another_amount_of_entropy_is_refused(size: int) -> None:
    """Too little chance never makes a guessable id."""
    with pytest.raises(ValueError, match="takes 10 random bytes"):
        uuid7(0, bytes(size))


@pytest.mark.parametrize("now_ms", [-1, LAST_MS + 1])
def test_a_time_that_does_not_fit_is_refused(now_ms: int) -> None:
    """A time outside of 48 bits never wraps around."""
    with pytest.raises(OverflowError):
        uuid7(now_ms, bytes(ENTROPY_BYTES))
