"""Every REST body, from its type alone: it survives JSON, each limit holds, and requests take no strange field."""

import re
from base64 import b64encode

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from tests.contract.edges import Edge, edges, smallest
from tests.contract.strategies import structs
from varde_contract import people
from varde_contract.ids import decode_text_id
from varde_contract.rest.fields import base64_schema
from varde_contract.schema import rest_modules, structs_of

BODIES = structs_of(*rest_modules(), people)
STRICT = [kind for kind in BODIES if kind.__struct_config__.forbid_unknown_fields]
EDGES = [edge for kind in BODIES for edge in edges(kind)]
# Whatever a client may send, directly or inside of another body; the API's own tests hold it to this list.
REQUESTS = {
    *("CodeRequest", "SignIn", "Refresh", "NewStatements", "NewDeviceList", "LostDeviceLists", "LinkProof"),
    *("SignedKey", "PrekeyUpload", "PrekeyClaim", "NewMessage", "NewProfile", "ProfileUpdate"),
    *("Policies", "WorkingHours", "DeviceProof", "FirstWords", "SealedCard"),
    *("NewLink", "LinkUse", "NewUserName", "UserNameQuery"),
}


def name_of(part: Edge | type[Struct]) -> str:
    """The test's id."""
    return part.name if isinstance(part, Edge) else part.__name__


@pytest.mark.parametrize("kind", BODIES, ids=name_of)
@settings(max_examples=30)  # of each of some forty bodies
@given(st.data())
def test_every_body_survives_json(kind: type[Struct], drawn: st.DataObject) -> None:
    """What one side writes, the other reads the same, times and keys included."""
    body = drawn.draw(structs(kind))
    assert msgspec.json.decode(msgspec.json.encode(body), type=kind, dec_hook=decode_text_id) == body


@pytest.mark.parametrize("edge", EDGES, ids=name_of)
def test_limits_of_bodies(edge: Edge) -> None:
    """The last good value of each field is accepted, the first bad one is refused."""
    written = msgspec.json.encode(edge.struct)
    if edge.good:
        assert msgspec.json.decode(written, type=type(edge.struct), dec_hook=decode_text_id) == edge.struct
    else:
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(written, type=type(edge.struct), dec_hook=decode_text_id)


def test_the_edges_are_there() -> None:
    """The test above has the limits that keep strangers out."""
    names = {edge.name for edge in EDGES}
    for wanted in (
        *("SignIn-code-line-feed-beyond", "CodeRequest-email-line-feed-beyond", "CodeRequest-email-upper-beyond"),
        *("NewProfile-salt-lower-beyond", "NewDeviceList-list-upper-beyond", "NewMessage-group-upper-beyond"),
        *("PrekeyClaim-devices-lower-beyond", "NewStatements-statements-upper-beyond"),
    ):
        assert wanted in names


def test_every_request_is_strict() -> None:
    """A request refuses fields it does not know; an answer lets them pass, so that the server may grow first."""
    assert {kind.__name__ for kind in STRICT} == REQUESTS


@pytest.mark.parametrize("kind", STRICT, ids=name_of)
def test_a_request_takes_no_strange_field(kind: type[Struct]) -> None:
    """A misspelt or smuggled field is refused, not ignored."""
    fields = msgspec.to_builtins(smallest(kind)) | {"is_admin": True}
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(msgspec.json.encode(fields), type=kind, dec_hook=decode_text_id)


@pytest.mark.parametrize("kind", BODIES, ids=name_of)
def test_no_body_can_be_changed(kind: type[Struct]) -> None:
    """Bodies are frozen: what was validated stays what it was."""
    assert kind.__struct_config__.frozen


@pytest.mark.parametrize("most", [6, 7, 8])
def test_the_document_of_bytes_ends_at_their_limit(most: int) -> None:
    """Together with the length of the text, its pattern takes as many bytes as are allowed and not one more."""
    longest = len(b64encode(bytes(most)))
    for size in range(most + 4):
        text = b64encode(bytes(size)).decode()
        taken = len(text) <= longest and re.search(base64_schema(most)["pattern"], text) is not None
        assert taken == (size <= most), size
