"""The TLS core against OpenSSL's client in memory."""

import ssl
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.certificates import Authority, issue
from tests.tls.client import TlsClient, handshake
from tls.connection import RECORD_BYTES, Tls, TlsFault, make_context, open_buffers

LARGE = bytes(range(256)) * 300
"""More than four records carry."""


@pytest.fixture
def peer(authority: Authority) -> TlsClient:
    """Its client."""
    return TlsClient(authority.trusting())


def test_a_handshake_ends_in_tls_1_3(tls: Tls, authority: Authority) -> None:
    """Nothing is to be sealed before it, HTTP/1.1 is agreed on, and no ticket is given for the next time."""
    trusting = authority.trusting()
    trusting.set_alpn_protocols(["h2", "http/1.1"])
    peer = TlsClient(trusting)
    assert (tls.established, tls.seal(b"early")) == (False, b"")
    handshake(tls, peer)
    assert tls.receive(peer.send(b"hei")) == b"hei"
    assert peer.receive(tls.seal(b"hallo")) == b"hallo"
    assert (peer.object.version(), peer.object.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
    assert peer.object.session is not None
    assert not peer.object.session.has_ticket
    assert tls.take_bytes() == b""


def test_plaintext_may_come_with_the_end_of_the_handshake(tls: Tls, peer: TlsClient) -> None:
    """A client sends its request in the same breath, and it is not kept waiting for the next one."""
    tls.receive(peer.handshake())
    peer.take(tls.take_bytes())
    assert tls.receive(peer.handshake() + peer.send(b"GET ") + peer.send(b"/")) == b"GET /"
    assert tls.established


def test_bytes_may_come_one_by_one(tls: Tls, peer: TlsClient) -> None:
    """Wherever the network cuts, the same comes out: handshake, messages, and the end."""
    heard = b""
    for step in (peer.handshake, peer.handshake, lambda: peer.send(b"one") + peer.send(LARGE), peer.close_notify):
        for byte in step():
            assert not tls.ended
            heard += tls.receive(bytes([byte]))
        peer.take(tls.take_bytes())
    assert heard == b"one" + LARGE
    assert tls.ended


def test_many_records_at_once(tls: Tls, peer: TlsClient) -> None:
    """All that is there comes out, and the half record at the end waits for its other half."""
    handshake(tls, peer)
    sent = [b"%d," % number for number in range(1_000)]
    records = b"".join(map(peer.send, sent))
    assert tls.receive(records[:-1]) == b"".join(sent[:-1])
    assert tls.receive(records[-1:]) == sent[-1]


@pytest.mark.parametrize("size", [0, 1, RECORD_BYTES - 1, RECORD_BYTES, RECORD_BYTES + 1, 65_536 + 14, 200_000])
def test_a_message_may_be_larger_than_a_record(tls: Tls, peer: TlsClient, size: int) -> None:
    """Both ways, at the edges and far beyond them."""
    handshake(tls, peer)
    message = b"m" * size
    assert tls.receive(peer.send(message) + peer.send(b".")) == message + b"."
    assert peer.receive(tls.seal(message) + tls.seal(b".")) == message + b"."


def test_the_peer_says_goodbye(tls: Tls, peer: TlsClient) -> None:
    """close_notify is a value, what follows it is dropped, and until we have sent it too we may go on."""
    handshake(tls, peer)
    assert tls.receive(peer.send(b"last") + peer.close_notify() + b"whatever") == b"last"
    assert tls.ended
    assert tls.receive(b"more") == b""
    assert peer.receive(tls.seal(b"answer")) == b"answer"
    with pytest.raises(ssl.SSLZeroReturnError):
        peer.receive(tls.close())


def test_we_say_goodbye(tls: Tls, peer: TlsClient) -> None:
    """After close_notify nothing is sealed and nothing more to be written; what the peer still says is heard."""
    handshake(tls, peer)
    before = peer.send(b"on its way")
    goodbye = tls.close()
    assert peer.receive(goodbye) == b""
    assert (tls.close(), tls.seal(b"late"), tls.ended) == (b"", b"", False)
    assert tls.receive(before) == b"on its way"
    assert tls.receive(peer.close_notify()) == b""
    assert tls.ended


def test_the_end_of_the_stream_is_a_value(tls: Tls, peer: TlsClient) -> None:
    """Also in the middle of a record: a line that is cut says no goodbye, and the layers above know what is missing."""
    handshake(tls, peer)
    assert tls.receive(peer.send(b"cut off")[:-3]) == b""
    assert not tls.ended
    assert (tls.receive(b""), tls.ended) == (b"", True)


@pytest.mark.parametrize("heard", [0, 1, 100])
def test_the_end_may_come_in_the_handshake(tls: Tls, peer: TlsClient, heard: int) -> None:
    """Who goes before it has begun is no surprise, and there is nobody to say goodbye to."""
    tls.receive(peer.handshake()[:heard] or b"\x16")
    assert (tls.receive(b""), tls.ended, tls.established) == (b"", True, False)
    assert (tls.close(), tls.seal(b"hei")) == (b"", b"")


def test_tls_1_2_is_refused(tls: Tls, authority: Authority) -> None:
    """A client that knows nothing newer is told so, with the alert for it."""
    old = TlsClient(authority.trusting(maximum_version=ssl.TLSVersion.TLSv1_2))
    with pytest.raises(TlsFault, match="UNSUPPORTED_PROTOCOL"):
        tls.receive(old.handshake())
    old.take(tls.take_bytes())
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        old.handshake()


def test_only_one_key_exchange_is_done(tls: Tls, authority: Authority) -> None:
    """OpenSSL's own list has finite fields too, with which a stranger's few packets would keep the node busy."""
    trusting = authority.trusting()
    trusting.set_ecdh_curve("secp384r1")
    with pytest.raises(TlsFault, match="NO_SUITABLE_KEY_SHARE"):
        tls.receive(TlsClient(trusting).handshake())


def test_a_client_that_does_not_trust_us_is_an_end(tls: Tls) -> None:
    """Its alert is a fault with a name."""
    peer = TlsClient(ssl.create_default_context())
    tls.receive(peer.handshake())
    peer.take(tls.take_bytes())
    with pytest.raises(ssl.SSLCertVerificationError):
        peer.object.do_handshake()
    alert = peer.take_bytes()
    with pytest.raises(TlsFault, match="UNKNOWN_CA"):
        tls.receive(alert)


def test_no_variable_makes_session_keys_leave(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSLKEYLOGFILE, which browsers and Python's defaults follow, is nothing to us."""
    peer = TlsClient(authority.trusting())
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "secrets"))
    handshake(Tls(make_context(*issue(authority, tmp_path)), open_buffers()), peer)
    assert not (tmp_path / "secrets").exists()


def test_connections_share_buffers_and_nothing_else(context: ssl.SSLContext, authority: Authority) -> None:
    """Half records, faults and goodbyes of some leave no byte for the others."""
    buffers = open_buffers()
    lines = [(Tls(context, buffers), TlsClient(authority.trusting())) for _ in range(5)]
    for tls, peer in lines:
        handshake(tls, peer)
    (half, half_peer), (broken, broken_peer), (rude, _), (gone, gone_peer), (whole, whole_peer) = lines
    record = half_peer.send(b"in two halves")
    assert half.receive(record[:20]) == b""
    with pytest.raises(TlsFault):
        broken.receive(broken_peer.send(b"x")[:-1] + b"!" + b"\x17\x03\x03\x00\x10" * 40)
    with pytest.raises(TlsFault):
        rude.receive(b"something else " * 100)
    assert gone.receive(gone_peer.close_notify() + b"\x17\x03\x03\x00\x01x") == b""
    assert whole.receive(whole_peer.send(b"whole")) == b"whole"
    assert whole_peer.receive(whole.seal(b"answer")) == b"answer"
    assert half.receive(record[20:]) == b"in two halves"
    assert half_peer.receive(half.seal(b"answer")) == b"answer"
    assert gone_peer.receive(gone.seal(b"answer")) == b"answer"


def cut(stream: bytes, cuts: Sequence[int]) -> list[bytes]:
    """A stream in pieces, none of them empty."""
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[begin:end] for begin, end in pairwise(edges)]


@given(
    sent=st.lists(st.binary(max_size=200) | st.integers(0, 40_000).map(bytes), max_size=8),
    cuts=st.lists(st.integers(0, 400_000), max_size=40),
    both=st.booleans(),
)
def test_what_goes_in_comes_out(
    context: ssl.SSLContext, authority: Authority, sent: list[bytes], cuts: list[int], *, both: bool
) -> None:
    """However messages are sized and the stream is cut, each way has the same bytes at both ends."""
    tls, peer = Tls(context, open_buffers()), TlsClient(authority.trusting())
    handshake(tls, peer)
    stream = b"".join(map(peer.send, sent)) + (peer.close_notify() if both else b"")
    assert b"".join(map(tls.receive, cut(stream, cuts))) == b"".join(sent)
    assert tls.ended is both
    answer = b"".join(map(tls.seal, sent)) + (b"" if both else tls.close())
    assert b"".join(map(peer.receive, cut(answer, cuts))) == b"".join(sent)
