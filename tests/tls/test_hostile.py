"""What no honest TLS client sends: garbage, giants, forged records and work without end."""

import ssl
import struct
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.certificates import Authority
from tests.tls.client import (
    ALERT,
    APPLICATION,
    HANDSHAKE,
    KEY_UPDATE_FOR_BOTH,
    RecordForger,
    TlsClient,
    handshake,
)
from tls.connection import SILENT_BYTES, WHOLE_BYTES, Tls, TlsFault, open_buffers
from varde_contract.errors import PeerFault


@pytest.fixture
def peer(authority: Authority, tmp_path: Path) -> TlsClient:
    """Its client, which writes its secrets to a file."""
    return TlsClient(authority.trusting(keylog_filename=str(tmp_path / "secrets")))


@pytest.fixture
def forger(tls: Tls, peer: TlsClient, tmp_path: Path) -> RecordForger:
    """The same client after its handshake, with other means."""
    handshake(tls, peer)
    return RecordForger(tmp_path / "secrets", (peer.object.cipher() or ("",))[0])


def record(kind: int, content: bytes) -> bytes:
    """A record in the clear."""
    return struct.pack("!BHH", kind, 0x0301, len(content)) + content


def taken(tls: Tls, pieces: Iterable[bytes]) -> int:
    """How many bytes are taken in before it is too much."""
    heard = 0
    for piece in pieces:
        heard += len(piece)
        try:
            tls.receive(piece)
        except TlsFault:
            return heard
    raise AssertionError("it was never too much")


GARBAGE = [
    pytest.param(b"GET /v1/relay HTTP/1.1\r\n", id="http"),
    pytest.param(b"GET", id="three-bytes-of-http"),
    pytest.param(b"SSH-2.0-secret\r\n", id="ssh"),
    pytest.param(bytes(2_000), id="zeros"),
    pytest.param(b"\xff" * 2_000, id="ones"),
    pytest.param(b"\x80\x2e\x01\x00\x02" + bytes(60), id="ssl2"),
    pytest.param(record(HANDSHAKE, b"\x01\x00\x00\x04secr"), id="no-hello"),
    pytest.param(record(HANDSHAKE, b"\x02\x00\x00\x04secr"), id="not-a-hello"),
    pytest.param(record(HANDSHAKE, b"\x01\xff\xff\xff"), id="hello-of-16-MiB"),
    pytest.param(record(APPLICATION, b"secret"), id="early-plaintext"),
    pytest.param(record(ALERT, b"\x02\x28"), id="alert"),
    pytest.param(record(24, b"\x01\x40\x00"), id="heartbeat"),
    pytest.param(b"\x16\x03\x01\xff\xff", id="record-of-64-KiB"),
    pytest.param(b"\x16\x03\x01" + (WHOLE_BYTES - 4).to_bytes(2), id="record-one-byte-too-large"),
]


@pytest.mark.parametrize("sent", GARBAGE)
def test_garbage_is_a_fault_at_once(tls: Tls, sent: bytes) -> None:
    """Nobody waits for more of it, the text names no content, and there is nothing more to say or to hear."""
    with pytest.raises(TlsFault, match=r"^the peer broke TLS: [A-Z0-9_]+$") as fault:
        tls.receive(sent)
    assert isinstance(fault.value, PeerFault)
    assert (tls.ended, tls.established) == (True, False)
    tls.take_bytes()
    assert (tls.receive(sent), tls.seal(b"hei"), tls.close(), tls.take_bytes()) == (b"", b"", b"", b"")


@pytest.mark.parametrize("piece", [1, 100, 16_000])
def test_a_handshake_is_bounded(tls: Tls, piece: int) -> None:
    """A first message that claims a hundred kilobytes and comes, in large pieces or in tiny ones, is cut off early."""
    hello = b"\x01" + (100_000).to_bytes(3) + bytes(100_000)
    fragments = (record(HANDSHAKE, hello[begin : begin + piece]) for begin in range(0, len(hello), piece))
    assert taken(tls, fragments) <= SILENT_BYTES + piece


def test_a_tampered_record_is_a_fault(tls: Tls, peer: TlsClient) -> None:
    """One changed bit is the end, and the peer has the alert that says why."""
    handshake(tls, peer)
    sent = bytearray(peer.send(b"secret"))
    sent[-1] ^= 1
    with pytest.raises(TlsFault, match="BAD_RECORD_MAC"):
        tls.receive(bytes(sent))
    with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):
        peer.receive(tls.take_bytes())
    assert tls.seal(b"hei") == b""


def test_a_repeated_record_is_a_fault(tls: Tls, peer: TlsClient) -> None:
    """Who records and replays gets nothing in twice."""
    handshake(tls, peer)
    sent = peer.send(b"once")
    assert tls.receive(sent) == b"once"
    with pytest.raises(TlsFault, match="BAD_RECORD_MAC"):
        tls.receive(sent)


def test_plaintext_before_a_fault_is_lost_with_it(tls: Tls, peer: TlsClient) -> None:
    """What came in the same breath is not acted on: the connection is over."""
    handshake(tls, peer)
    with pytest.raises(TlsFault):
        tls.receive(peer.send(b"good") + b"\x17\x03\x03\x00\x20" + bytes(32))
    assert tls.receive(peer.send(b"more")) == b""


def test_padding_is_not_seen(tls: Tls, forger: RecordForger) -> None:
    """A client that hides how long its messages are is understood (RFC 8446 section 5.4)."""
    assert tls.receive(forger.record(b"hei", APPLICATION, padding=1_000)) == b"hei"


def test_new_keys_are_followed(tls: Tls, peer: TlsClient, forger: RecordForger) -> None:
    """Before, in between and after, what is sent is heard, and our own new keys go out in their order."""
    for number in range(3):
        sent = [forger.record(b"a", APPLICATION)]
        sent += [forger.update(KEY_UPDATE_FOR_BOTH) for _ in range(number)]
        sent += [forger.record(b"b", APPLICATION)]
        assert tls.receive(b"".join(sent)) == b"ab"
        assert peer.receive(tls.seal(b"answer")) == b"answer"
        assert tls.take_bytes() == b""


@pytest.mark.parametrize("between", [b"", b"x"])
def test_new_keys_without_end_are_a_fault(tls: Tls, forger: RecordForger, between: bytes) -> None:
    """A connection may change its keys a hundred times in its life, whatever else it says."""
    pieces = (forger.update() + (forger.record(between, APPLICATION) if between else b"") for _ in range(10_000))
    assert 100 * 27 <= taken(tls, pieces) <= SILENT_BYTES


def test_empty_records_without_end_are_a_fault(tls: Tls, forger: RecordForger) -> None:
    """They are allowed, and say nothing."""
    assert tls.receive(forger.record(b"", APPLICATION) + forger.record(b"x", APPLICATION)) == b"x"
    assert taken(tls, (forger.record(b"", APPLICATION) for _ in range(10_000))) <= SILENT_BYTES


STRANGE = [
    pytest.param(b"\x01\x00\x00\x01\x00", HANDSHAKE, id="another-hello"),
    pytest.param(b"\x04\x00\x00\x01\x00", HANDSHAKE, id="a-ticket"),
    pytest.param(b"\x18\x00\x00\x01\x07", HANDSHAKE, id="keys-of-an-unknown-kind"),
    pytest.param(b"\x01", 20, id="change-cipher-spec"),
    pytest.param(b"\x02\x50", ALERT, id="a-fatal-alert"),
    pytest.param(b"\x01", ALERT, id="half-an-alert"),
    pytest.param(b"x", 99, id="an-unknown-kind"),
    pytest.param(b"", 0, id="nothing-but-padding"),
]


@pytest.mark.parametrize(("content", "kind"), STRANGE)
def test_what_has_no_place_after_the_handshake_is_a_fault(
    tls: Tls, forger: RecordForger, content: bytes, kind: int
) -> None:
    """Well sealed and still wrong: it ends with a name."""
    with pytest.raises(TlsFault, match=r"^the peer broke TLS: [A-Z0-9_]+$"):
        tls.receive(forger.record(content, kind))


@given(sent=st.binary(max_size=2_000), framed=st.booleans())
def test_whatever_comes_first_is_refused_or_waited_for(context: ssl.SSLContext, sent: bytes, *, framed: bool) -> None:
    """Random bytes, bare or as a handshake record, never become plaintext and raise nothing but the fault."""
    tls = Tls(context, open_buffers())
    try:
        assert tls.receive(record(HANDSHAKE, sent) if framed else sent) == b""
    except TlsFault:
        assert tls.ended
    assert not tls.established


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_in_the_handshake_never_establishes(
    context: ssl.SSLContext, authority: Authority, place: int, change: int
) -> None:
    """Both ends have seen the same bytes, or there is no connection."""
    tls, peer = Tls(context, open_buffers()), TlsClient(authority.trusting())
    hello = bytearray(peer.handshake())
    hello[place % len(hello)] ^= change
    try:
        tls.receive(bytes(hello))
        peer.take(tls.take_bytes())
        tls.receive(peer.handshake())
    except (TlsFault, ssl.SSLError):
        return
    assert not tls.established or place % len(hello) < 3
