"""Ids are UUIDv7 as RFC 9562 has them."""

import copy
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ids import id_of
from varde_contract.codec import decode_client_frames, decode_hello
from varde_contract.errors import PeerFault
from varde_contract.frames import Delivered, MalformedFrame
from varde_contract.ids import ENTROPY_BYTES, decode_text_id, uuid7
from varde_contract.rest.talk import InvitationView

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


GOOD: Final = id_of(7)
V4: Final = UUID("0af35eb1-3f1b-4b5c-a7b7-34e5a7d1c6f2")
SPELLINGS: Final = (str(GOOD).upper(), GOOD.hex, f"{{{GOOD}}}", f"urn:uuid:{GOOD}", f"{GOOD} ", f"{GOOD}\n")
NO_IDS: Final = (UUID(int=0), UUID(int=2**128 - 1), V4, UUID("017f22e2-79b0-7cc3-18c4-dc0c0c07398f"))
"""All zeros, all ones, version 4, and version 7 under the variant of another committee."""


def binary(value: object) -> bytes:
    """`receipt:delivered` with this in the place of its conversation."""
    frames = [("receipt:delivered", value, 1)]
    return msgspec.msgpack.encode(frames)


def is_malformed(packed: bytes) -> bool:
    """Whether a relay refuses the one frame of this message."""
    (frame,) = decode_client_frames(packed)
    return isinstance(frame, MalformedFrame)


def read_text(value: object, dec_hook: Callable[[type, Any], Any] | None = decode_text_id) -> InvitationView:
    """Read a body in JSON that has this in the place of an id."""
    body = {"conversation": GOOD, "kind": "dm", "profile": value}
    return msgspec.json.decode(msgspec.json.encode(body), type=InvitationView, dec_hook=dec_hook)


def test_an_id_is_read_as_it_was_written() -> None:
    """Sixteen bytes of msgpack and canonical text of JSON both come out as the id, which can be copied and compared."""
    (frame,) = decode_client_frames(binary(GOOD.bytes))
    assert isinstance(frame, Delivered)
    for read in (frame.conversation, read_text(GOOD).profile):
        assert read == GOOD
        assert (hash(read), str(read), copy.deepcopy(read)) == (hash(GOOD), str(GOOD), GOOD)


@pytest.mark.parametrize("number", NO_IDS, ids=str)
def test_no_other_uuid_is_an_id(number: UUID) -> None:
    """The nil UUID once stood for a whole group. Nobody can bring it, or a random UUID, as an id of their own."""
    hello = msgspec.msgpack.encode((1, "ticket", number.bytes))
    assert is_malformed(binary(number.bytes))
    with pytest.raises(PeerFault):
        decode_hello(hello)
    with pytest.raises(msgspec.ValidationError, match="UUIDv7"):
        read_text(number)


@pytest.mark.parametrize("value", [str(GOOD), GOOD.hex, GOOD.bytes[:15], GOOD.bytes + b"\0", list(GOOD.bytes), None, 7])
def test_msgpack_has_ids_as_sixteen_bytes_only(value: object) -> None:
    """One id has one spelling on the wire: text passes no more."""
    assert is_malformed(binary(value))


def test_map_keys_are_ids_like_any_other() -> None:
    """A send to each device names them in bytes: text as a key passes no more."""
    for key, good in ((GOOD.bytes, True), (str(GOOD), False), (V4.bytes, False)):
        packed = msgspec.msgpack.encode([("msg:send", *(GOOD.bytes,) * 3, 1, None, {key: b"x"})])
        assert is_malformed(packed) is not good


@pytest.mark.parametrize("text", SPELLINGS)
def test_json_has_ids_in_lower_case_with_hyphens_only(text: str) -> None:
    """Upper case, no hyphens, braces and urn: are other spellings of a UUID, and of no id."""
    with pytest.raises(msgspec.ValidationError, match="lower case"):
        read_text(text)


def test_ids_cannot_be_read_without_these_rules() -> None:
    """A decoder that was made without the hook reads no id at all, in any spelling."""
    with pytest.raises(msgspec.ValidationError):
        read_text(GOOD, dec_hook=None)
