"""What is read of a request, strictly: body and query as Structs, the access token; and how large a body may be.

What msgspec says of a fault may repeat what was sent. Passed on are the field, its index, and what was expected there.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct
from quart import Request
from quart_trio.wrappers import TrioRequest

from api.http.problems import WRONG_MEDIA_TYPE
from varde_contract.ids import decode_text_id, id_schema
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.shape_faults import expectation_of, missing_field, path_of

JSON: Final = "application/json"
SIGN_IN_PATH: Final = "/v1/auth/"
SIGN_IN_BODY_BYTES: Final = 8 * 1_024
"""An address and a code, even with every character escaped, take less than half of it."""

T = TypeVar("T", bound=Struct)

_PATH: Final = re.compile(r"[a-z0-9_.\[\]]*")
_NO_JSON: Final = Refused(RefusalCode.MALFORMED, "The body is not JSON.")
_TWICE: Final = Refused(RefusalCode.MALFORMED, "A query parameter is there twice.")
_NO_TOKEN: Final = Refused(RefusalCode.UNAUTHENTICATED, "Send the access token as Authorization: Bearer.")


class BoundedRequest(TrioRequest):
    """A request whose body is bounded by where it goes.

    A body is kept in memory from its first byte on, before anybody has looked at who sends it. Where no token is
    needed, it may be only as large as what is asked for there; elsewhere the token is looked at before the body is
    waited for.
    """

    def __init__(
        self, method: str, scheme: str, path: str, *more: Any, max_content_length: int | None = None, **named: Any
    ) -> None:
        if path.startswith(SIGN_IN_PATH) and max_content_length is not None:
            max_content_length = min(max_content_length, SIGN_IN_BODY_BYTES)
        super().__init__(method, scheme, path, *more, max_content_length=max_content_length, **named)


class BodyReader(Generic[T]):
    """Reads bodies of one kind. No conversions: a number in quotes is not a number."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._decoder = msgspec.json.Decoder(kind, dec_hook=decode_text_id)
        self._fields = _field_names(kind)

    async def read_request(self, request: Request) -> T | Refused:
        """Wait for the body and read it. Refuses `unsupported-media-type` and `malformed`."""
        if request.mimetype != JSON or request.headers.get("Content-Encoding", "identity").lower() != "identity":
            return WRONG_MEDIA_TYPE
        return self.read(await request.get_data(cache=False, as_text=False, parse_form_data=False))

    def read(self, body: bytes) -> T | Refused:
        """Read a body. Refuses `malformed`, naming the field."""
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError as error:
            return _malformed("body", self._kind, self._fields, error)
        # RecursionError: a body may be nested deeper than the decoder goes.
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _NO_JSON


class QueryReader(Generic[T]):
    """Reads query strings of one kind. Parameters are text, so here numbers and ids are converted."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._fields = _field_names(kind)

    async def read_request(self, request: Request) -> T | Refused:
        """Read the query string. Refuses `malformed`. No checkpoint."""
        return self.read(request.args.to_dict(flat=False))

    def read(self, query: Mapping[str, Sequence[str]]) -> T | Refused:
        """Read the parameters. Refuses `malformed`."""
        if any(len(values) != 1 for values in query.values()):
            return _TWICE
        try:
            given = {name: values[0] for name, values in query.items()}
            return msgspec.convert(given, self._kind, strict=False, dec_hook=decode_text_id)
        except msgspec.ValidationError as error:
            return _malformed("query", self._kind, self._fields, error)


def read_token(authorization: Sequence[str]) -> str | Refused:
    """Return the access token of the one `Authorization` header (RFC 6750). Refuses `unauthenticated`."""
    if len(authorization) != 1:
        return _NO_TOKEN
    scheme, _, token = authorization[0].partition(" ")
    return token.strip() if scheme.lower() == "bearer" else _NO_TOKEN


def _malformed(where: str, kind: type[Struct], fields: frozenset[str], error: msgspec.ValidationError) -> Refused:
    text = str(error)
    path = path_of(text)
    # Names that are not ours came from the client: a field's name may be written so that it looks like a path.
    known = path if _PATH.fullmatch(path) and set(re.findall(r"[a-z_]+", path)) <= fields else ""
    if missing := missing_field(text):
        told = f"{where}{known}.{missing} is missing."
    elif text.startswith("Object contains unknown field"):
        told = f"{where}{known} has a field that is not known there."
    else:
        told = f"look at {where}{known}.{expectation_of(text)}"
    return Refused(RefusalCode.MALFORMED, f"The {where} is not a {kind.__name__}: {told}")


def _field_names(kind: type[Struct]) -> frozenset[str]:
    _, components = msgspec.json.schema_components([kind], schema_hook=id_schema)
    return frozenset(name for component in components.values() for name in component.get("properties", ()))
