"""Padding hides a length among those of its bucket, and has one form."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from varde_contract import padding
from varde_contract.errors import LocalMisuse, PeerFault
from varde_contract.padding import BUCKETS, CONTENT_BYTES, pad, unpad

contents = st.binary(max_size=600) | st.sampled_from(
    [b"\x00", b"\x80", b"\x80\x00", b"\xff" * 255, bytes(256), b"\x80" * CONTENT_BYTES]
)


@given(contents)
def test_what_goes_in_comes_out(content: bytes) -> None:
    """Unpadding gives back every content, also one that ends like padding does."""
    assert unpad(pad(content)) == content


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_bucket_is_used_to_its_edge(bucket: int) -> None:
    """One byte less than the bucket still fits it; as many as the bucket go to the next, or nowhere."""
    assert len(pad(bytes(bucket - 1))) == bucket
    if bucket == BUCKETS[-1]:
        with pytest.raises(LocalMisuse, match="at most"):
            pad(bytes(bucket))
    else:
        assert len(pad(bytes(bucket))) == BUCKETS[BUCKETS.index(bucket) + 1]


def test_the_largest_content_is_the_one_that_is_promised() -> None:
    """What callers ask beforehand is what padding holds to."""
    assert len(pad(bytes(padding.CONTENT_BYTES))) == BUCKETS[-1]


@given(st.binary(max_size=600) | st.sampled_from(BUCKETS).map(bytes))
def test_other_bytes_are_refused(padded: bytes) -> None:
    """What `pad` did not make is refused as the peer's fault, or is exactly what `pad` makes of its content."""
    try:
        content = unpad(padded)
    except PeerFault:
        return
    assert pad(content) == padded


@given(contents.filter(lambda content: len(content) < 512), st.sampled_from(BUCKETS))
def test_a_longer_bucket_than_needed_is_refused(content: bytes, bucket: int) -> None:
    """One content has one padded form: nobody can hide a mark in the choice of the bucket."""
    assume(bucket > len(pad(content)))
    with pytest.raises(PeerFault, match="longer than its bucket"):
        unpad((content + b"\x80").ljust(bucket, b"\x00"))


@pytest.mark.parametrize("padded", [b"", b"\x80", bytes(512), b"a" * 512, b"\x80" + bytes(510) + b"\x01"])
def test_a_missing_marker_or_a_wrong_size_is_refused(padded: bytes) -> None:
    """Zeros alone, no zeros, something behind the marker, and sizes that are no bucket are the peer's fault."""
    with pytest.raises(PeerFault, match="not well-formed"):
        unpad(padded)
