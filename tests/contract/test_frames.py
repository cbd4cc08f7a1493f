"""Every frame, from its type alone: it survives the wire, and each limit of each field holds."""

import pytest
from hypothesis import given
from msgspec import Struct

from tests.contract import examples as x
from tests.contract.edges import Edge, edges
from tests.contract.strategies import one_of, structs
from varde_contract import codec
from varde_contract import frames as f
from varde_contract.errors import PeerFault
from varde_contract.refusals import RefusalCode, StaleDevices

CLIENT_EDGES = [edge for kind in x.CLIENT_KINDS for edge in edges(kind)]
PARTS: tuple[type[Struct], ...] = (f.Head, StaleDevices)
SERVER_EDGES = [edge for kinds in (x.SERVER_KINDS, PARTS) for kind in kinds for edge in edges(kind)]
HELLO_EDGES = list(edges(f.Hello))


def around(struct: Struct) -> Struct:
    """The frame that a part of one travels in, or the frame itself."""
    match struct:
        case f.Head():
            return f.Welcome(x.SESSION, x.NOW_MS, 1, x.LIMITS, (struct,), more=False)
        case StaleDevices():
            return f.RefusedFrame("msg:send", x.CLIENT_ID, RefusalCode.STALE_DEVICES, "repair", None, struct)
    return struct


@given(one_of(x.CLIENT_KINDS))
def test_what_a_client_says_arrives(frame: Struct) -> None:
    """Every frame of a client is the same after the wire."""
    assert codec.decode_client_frames(codec.pack([codec.encode_frame(frame)])) == [frame]


@given(one_of(x.SERVER_KINDS))
def test_what_a_relay_says_arrives(frame: Struct) -> None:
    """Every frame of a relay is the same after the wire."""
    assert codec.decode_server_frames(codec.pack([codec.encode_frame(frame)])) == [frame]


@given(structs(f.Hello))
def test_hello_arrives(hello: f.Hello) -> None:
    """Hello is the same after the handshake."""
    assert codec.decode_hello(codec.encode_hello(hello)) == hello


@pytest.mark.parametrize("edge", CLIENT_EDGES, ids=lambda edge: edge.name)
def test_limits_of_client_frames(edge: Edge) -> None:
    """The last good value is accepted; of the next one the relay says which field it is in."""
    packed = b"\x91" + codec.encode_frame(edge.struct)
    if edge.good:
        assert codec.decode_client_frames(packed) == [edge.struct]
    else:
        (refused,) = codec.decode_client_frames(packed)
        assert isinstance(refused, f.MalformedFrame)
        assert refused.about == f.tag_of(edge.struct)
        assert f"`{edge.name.split('-')[1]}" in refused.detail


@pytest.mark.parametrize("edge", SERVER_EDGES, ids=lambda edge: edge.name)
def test_limits_of_server_frames(edge: Edge) -> None:
    """A client is as strict with its relay."""
    frame = around(edge.struct)
    packed = b"\x91" + codec.encode_frame(frame)
    if edge.good:
        assert codec.decode_server_frames(packed) == [frame]
    else:
        with pytest.raises(PeerFault):
            codec.decode_server_frames(packed)


@pytest.mark.parametrize("edge", HELLO_EDGES, ids=lambda edge: edge.name)
def test_limits_of_hello(edge: Edge) -> None:
    """The longest ticket is accepted; a longer one fails the handshake."""
    assert isinstance(edge.struct, f.Hello)
    payload = codec.encode_hello(edge.struct)
    if edge.good:
        assert codec.decode_hello(payload) == edge.struct
    else:
        with pytest.raises(PeerFault):
            codec.decode_hello(payload)


def test_the_edges_are_there() -> None:
    """The tests above cannot pass by having nothing to test: the limits that matter are among the edges."""
    names = {edge.name for edge in (*CLIENT_EDGES, *SERVER_EDGES, *HELLO_EDGES)}
    for wanted in (
        *("Send-group-upper-beyond", "Send-group-lower-beyond", "Send-devices-upper-beyond", "Sync-limit-upper-last"),
        *(
            "Sync-from_seq-lower-beyond",
            "Delivered-upto-upper-beyond",
            "New-ciphertext-upper-last",
            "Head-upto-upper-last",
        ),
        "StaleDevices-missing-upper-beyond",
        *("Hello-ticket-upper-beyond", "Hello-ticket-upper-last"),
    ):
        assert wanted in names


@pytest.mark.parametrize("kind", [*x.CLIENT_KINDS, *x.SERVER_KINDS], ids=lambda kind: kind.__name__)
def test_every_frame_has_an_example(kind: type[Struct]) -> None:
    """Golden bytes exist for each frame."""
    assert isinstance(x.example_of(kind), kind)


def test_both_sides_use_one_word_for_one_thing() -> None:
    """No two frames of one direction share a tag, and every tag is a word of the papers' form."""
    for kinds in (x.CLIENT_KINDS, x.SERVER_KINDS):
        tags = [f.tag_of(kind) for kind in kinds]
        assert len(tags) == len(set(tags))
        assert all(tag.replace(":", "").isalpha() for tag in tags)


@pytest.mark.parametrize("frame", x.CLIENT, ids=f.tag_of)
def test_a_refusal_can_name_its_frame(frame: f.ClientFrame) -> None:
    """What `refused` names is in the frame itself: the client id of a send, else the conversation, else nothing."""
    subject = f.subject_of(frame)
    assert subject == getattr(frame, "client_id", getattr(frame, "conversation", None))


@pytest.mark.parametrize("kind", x.CLIENT_KINDS, ids=lambda kind: kind.__name__)
def test_a_client_frame_takes_no_further_field(kind: type[Struct]) -> None:
    """What a relay does not know, it does not let pass."""
    encoded = codec.encode_frame(x.example_of(kind))
    fields = len(kind.__struct_fields__)
    longer = bytes((0x90 | fields + 2,)) + encoded[1:] + b"\xc0" * (fields + 2 - (encoded[0] & 0x0F))
    (refused,) = codec.decode_client_frames(b"\x91" + longer)
    assert isinstance(refused, f.MalformedFrame)
    assert "has more fields" in refused.detail


@pytest.mark.parametrize("kind", x.SERVER_KINDS, ids=lambda kind: kind.__name__)
def test_a_server_frame_may_grow(kind: type[Struct]) -> None:
    """A later relay may say more at the end of a frame, and this client still understands the rest."""
    encoded = codec.encode_frame(x.example_of(kind))
    longer = bytes((encoded[0] + 1,)) + encoded[1:] + b"\xc0"
    assert codec.decode_server_frames(b"\x91" + longer) == [x.example_of(kind)]
