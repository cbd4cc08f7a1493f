"""The TLS core against OpenSSL's client in memory."""

import ssl
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.socket.tls import RECORD_BYTES, Tls, TlsFault, make_context, open_buffers
from tests.certificates import Authority, issue
from tests.relay.tls_peer import TlsPeer, shake

LARGE = bytes(range(256)) * 300
"""More than four records carry."""


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Whom the clients trust."""
    return Authority()


@pytest.fixture(scope="module")
def context(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """The server's side."""
    return make_context(*issue(authority, tmp_path_factory.mktemp("tls")))


@pytest.fixture
def tls(context: ssl.SSLContext) -> Tls:
    """A connection that has heard nothing yet."""
    return Tls(context, open_buffers())


@pytest.fixture
def peer(authority: Authority) -> TlsPeer:
    """Its client."""
    return TlsPeer(authority.trusting())


def test_a_handshake_ends_in_tls_1_3(tls: Tls, authority: Authority) -> None:
    """Nothing is to be sealed before it, HTTP/1.1 is agreed on, and no ticket is given for the next time."""
    trusting = authority.trusting()
    trusting.set_alpn_protocols(["h2", "http/1.1"])
    peer = TlsPeer(trusting)
    assert (tls.established, tls.seal(b"early")) == (False, b"")
    shake(tls, peer)
    assert tls.receive(peer.say(b"hei")) == b"hei"
    assert peer.hear(tls.seal(b"hallo")) == b"hallo"
    assert (peer.object.version(), peer.object.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
    assert peer.object.session is not None
    assert not peer.object.session.has_ticket
    assert tls.take_bytes() == b""


def test_plaintext_may_come_with_the_end_of_the_handshake(tls: Tls, peer: TlsPeer) -> None:
    """A client sends its request in the same breath, and it is not kept waiting for the next one."""
    tls.receive(peer.shake())
    peer.take(tls.take_bytes())
    assert tls.receive(peer.shake() + peer.say(b"GET ") + peer.say(b"/")) == b"GET /"
    assert tls.established


def test_bytes_may_come_one_by_one(tls: Tls, peer: TlsPeer) -> None:
    """Wherever the network cuts, the same comes out: handshake, messages, and the end."""
    heard = b""
    for step in (peer.shake, peer.shake, lambda: peer.say(b"one") + peer.say(LARGE), peer.bye):
        for byte in step():
            assert not tls.ended
            heard += tls.receive(bytes([byte]))
        peer.take(tls.take_bytes())
    assert heard == b"one" + LARGE
    assert tls.ended


def test_many_records_at_once(tls: Tls, peer: TlsPeer) -> None:
    """All that is there comes out, and the half record at the end waits for its other half."""
    shake(tls, peer)
    said = [b"%d," % number for number in range(1_000)]
    records = b"".join(map(peer.say, said))
    assert tls.receive(records[:-1]) == b"".join(said[:-1])
    assert tls.receive(records[-1:]) == said[-1]


@pytest.mark.parametrize("size", [0, 1, RECORD_BYTES - 1, RECORD_BYTES, RECORD_BYTES + 1, 65_536 + 14, 200_000])
def test_a_message_may_be_larger_than_a_record(tls: Tls, peer: TlsPeer, size: int) -> None:
    """Both ways, at the edges and far beyond them."""
    shake(tls, peer)
    message = b"m" * size
    assert tls.receive(peer.say(message) + peer.say(b".")) == message + b"."
    assert peer.hear(tls.seal(message) + tls.seal(b".")) == message + b"."


def test_the_peer_says_goodbye(tls: Tls, peer: TlsPeer) -> None:
    """close_notify is a value, what follows it is dropped, and until we have said it too we may go on."""
    shake(tls, peer)
    assert tls.receive(peer.say(b"last") + peer.bye() + b"whatever") == b"last"
    assert tls.ended
    assert tls.receive(b"more") == b""
    assert peer.hear(tls.seal(b"answer")) == b"answer"
    with pytest.raises(ssl.SSLZeroReturnError):
        peer.hear(tls.close())


def test_we_say_goodbye(tls: Tls, peer: TlsPeer) -> None:
    """After close_notify nothing is sealed and nothing more to be written; what the peer still says is heard."""
    shake(tls, peer)
    before = peer.say(b"on its way")
    goodbye = tls.close()
    assert peer.hear(goodbye) == b""
    assert (tls.close(), tls.seal(b"late"), tls.ended) == (b"", b"", False)
    assert tls.receive(before) == b"on its way"
    assert tls.receive(peer.bye()) == b""
    assert tls.ended


def test_the_end_of_the_stream_is_a_value(tls: Tls, peer: TlsPeer) -> None:
    """Also in the middle of a record: a line that is cut says no goodbye, and the layers above know what is missing."""
    shake(tls, peer)
    assert tls.receive(peer.say(b"cut off")[:-3]) == b""
    assert not tls.ended
    assert (tls.receive(b""), tls.ended) == (b"", True)


@pytest.mark.parametrize("heard", [0, 1, 100])
def test_the_end_may_come_in_the_handshake(tls: Tls, peer: TlsPeer, heard: int) -> None:
    """Who goes before it has begun is no surprise, and there is nobody to say goodbye to."""
    tls.receive(peer.shake()[:heard] or b"\x16")
    assert (tls.receive(b""), tls.ended, tls.established) == (b"", True, False)
    assert (tls.close(), tls.seal(b"hei")) == (b"", b"")


def test_tls_1_2_is_refused(tls: Tls, authority: Authority) -> None:
    """A client that knows nothing newer is told so, with the alert for it."""
    old = TlsPeer(authority.trusting(maximum_version=ssl.TLSVersion.TLSv1_2))
    with pytest.raises(TlsFault, match="UNSUPPORTED_PROTOCOL"):
        tls.receive(old.shake())
    old.take(tls.take_bytes())
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        old.shake()


def test_only_one_key_exchange_is_done(tls: Tls, authority: Authority) -> None:
    """OpenSSL's own list has finite fields too, with which a stranger's few packets would keep the node busy."""
    trusting = authority.trusting()
    trusting.set_ecdh_curve("secp384r1")
    with pytest.raises(TlsFault, match="NO_SUITABLE_KEY_SHARE"):
        tls.receive(TlsPeer(trusting).shake())


def test_a_client_that_does_not_trust_us_is_an_end(tls: Tls) -> None:
    """Its alert is a fault with a name."""
    peer = TlsPeer(ssl.create_default_context())
    tls.receive(peer.shake())
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
    peer = TlsPeer(authority.trusting())
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "secrets"))
    shake(Tls(make_context(*issue(authority, tmp_path)), open_buffers()), peer)
    assert not (tmp_path / "secrets").exists()


def test_connections_share_buffers_and_nothing_else(context: ssl.SSLContext, authority: Authority) -> None:
    """Half records, faults and goodbyes of some leave no byte for the others."""
    buffers = open_buffers()
    lines = [(Tls(context, buffers), TlsPeer(authority.trusting())) for _ in range(5)]
    for tls, peer in lines:
        shake(tls, peer)
    (half, half_peer), (broken, broken_peer), (rude, _), (gone, gone_peer), (whole, whole_peer) = lines
    record = half_peer.say(b"in two halves")
    assert half.receive(record[:20]) == b""
    with pytest.raises(TlsFault):
        broken.receive(broken_peer.say(b"x")[:-1] + b"!" + b"\x17\x03\x03\x00\x10" * 40)
    with pytest.raises(TlsFault):
        rude.receive(b"something else " * 100)
    assert gone.receive(gone_peer.bye() + b"\x17\x03\x03\x00\x01x") == b""
    assert whole.receive(whole_peer.say(b"whole")) == b"whole"
    assert whole_peer.hear(whole.seal(b"answer")) == b"answer"
    assert half.receive(record[20:]) == b"in two halves"
    assert half_peer.hear(half.seal(b"answer")) == b"answer"
    assert gone_peer.hear(gone.seal(b"answer")) == b"answer"


def cut(stream: bytes, cuts: Sequence[int]) -> list[bytes]:
    """A stream in pieces, none of them empty."""
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[begin:end] for begin, end in pairwise(edges)]


@given(
    said=st.lists(st.binary(max_size=200) | st.integers(0, 40_000).map(bytes), max_size=8),
    cuts=st.lists(st.integers(0, 400_000), max_size=40),
    both=st.booleans(),
)
def test_what_goes_in_comes_out(
    context: ssl.SSLContext, authority: Authority, said: list[bytes], cuts: list[int], *, both: bool
) -> None:
    """However messages are sized and the stream is cut, each way has the same bytes at both ends."""
    tls, peer = Tls(context, open_buffers()), TlsPeer(authority.trusting())
    shake(tls, peer)
    stream = b"".join(map(peer.say, said)) + (peer.bye() if both else b"")
    assert b"".join(map(tls.receive, cut(stream, cuts))) == b"".join(said)
    assert tls.ended is both
    answer = b"".join(map(tls.seal, said)) + (b"" if both else tls.close())
    assert b"".join(map(peer.hear, cut(answer, cuts))) == b"".join(said)
