"""The limits fit into one another."""

from tests.contract import examples as x
from tests.ids import id_of
from varde_contract import codec, limits, padding
from varde_contract import frames as f
from varde_contract.bodies import GROUP_SESSION_BYTES
from varde_contract.ids import DeviceId
from varde_contract.refusals import RefusalCode, StaleDevices

LONGEST_DETAIL = 500


def test_a_transport_message_is_what_noise_allows() -> None:
    """Plaintext and tag together are the longest Noise message, to the byte."""
    assert limits.PLAINTEXT_BYTES + limits.NOISE_TAG_BYTES == limits.NOISE_MESSAGE_BYTES == 65_535


def test_the_largest_envelope_fits_a_ciphertext() -> None:
    """The largest bucket leaves room for what Olm (below 300 bytes), Megolm (below 200) and an outer layer add."""
    sealed = 2 + GROUP_SESSION_BYTES
    assert limits.CIPHERTEXT_BYTES - padding.BUCKETS[-1] - sealed >= 1_900


def test_the_largest_new_message_fits_a_transport_message() -> None:
    """What one device may send can be delivered to the next in one piece, every other field at its largest."""
    largest = f.New(
        *(x.CONVERSATION, limits.SEQ_MAX, x.MESSAGE, x.CLIENT_ID, x.ALICE_PRIVAT, x.ALICE_PHONE, limits.SEQ_MAX),
        ciphertext=bytes(limits.CIPHERTEXT_BYTES),
    )
    assert codec.fits(len(codec.encode_frame(largest)), 1)


def test_the_fullest_welcome_fits_a_transport_message() -> None:
    """A device in more conversations than one Welcome names can still be greeted."""
    head = f.Head(x.CONVERSATION, limits.SEQ_MAX, limits.SEQ_MAX, limits.SEQ_MAX, limits.SEQ_MAX)
    largest = f.Welcome(x.SESSION, x.NOW_MS, 30_000, x.LIMITS, (head,) * limits.HEADS_PER_WELCOME, more=True)
    assert codec.fits(len(codec.encode_frame(largest)), 1)


def test_the_longest_refusal_fits_a_transport_message() -> None:
    """Even a sender who left out as many devices as can be told, and named as many that are gone, is told at once."""
    missing = tuple(DeviceId(id_of(number)) for number in range(limits.DEVICES_PER_SEND))
    stale = StaleDevices(limits.SEQ_MAX, missing=missing, gone=missing)
    detail = "x" * LONGEST_DETAIL
    refused = f.RefusedFrame("msg:send", x.CLIENT_ID, RefusalCode.STALE_DEVICES, detail, limits.SEQ_MAX, stale)
    assert codec.fits(len(codec.encode_frame(refused)), 1)


def test_a_ticket_fits_a_handshake_message() -> None:
    """Hello with the longest ticket fits the handshake of both patterns."""
    hello = codec.encode_hello(f.Hello(255, "t" * limits.TICKET_BYTES, x.ALICE_PHONE))
    ephemeral_static_and_tags = 32 + 48 + 16
    assert len(hello) + ephemeral_static_and_tags <= limits.NOISE_MESSAGE_BYTES
