"""Padding of plaintext to size buckets (ISO/IEC 7816-4 marker), so that a ciphertext's length says little."""

from collections.abc import Sequence

from varde_contract.errors import LocalMisuse, PeerFault

BUCKETS = (512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 47_104)
"""Padded sizes in bytes. The last leaves 2 KiB of a ciphertext for what the ciphers and a post-quantum key add."""
CONTENT_BYTES = BUCKETS[-1] - 1

_MARKER = b"\x80"


def pad(content: bytes, buckets: Sequence[int] = BUCKETS) -> bytes:
    """Return `content` with a marker byte and zeros up to the next bucket. Raises LocalMisuse when it fits none."""
    # Strictly smaller: the marker needs a byte of its own, also behind a content that fills a bucket.
    for bucket in buckets:
        if len(content) < bucket:
            return (content + _MARKER).ljust(bucket, b"\x00")
    raise LocalMisuse(f"padding holds at most {buckets[-1] - 1} bytes")


def unpad(padded: bytes, buckets: Sequence[int] = BUCKETS) -> bytes:
    """Return the content. Raises PeerFault when the size is no bucket or the padding is not as `pad` makes it."""
    content, marker, zeros = padded.rpartition(_MARKER)
    if len(padded) not in buckets or not marker or any(zeros):
        raise PeerFault("the padding is not well-formed")
    # One content, one padding: a longer one could carry a channel that the envelope does not know of.
    if len(pad(content, buckets)) != len(padded):
        raise PeerFault("the padding is longer than its bucket asks for")
    return content
