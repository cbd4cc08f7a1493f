"""Requests in and answers out: JSON to Structs and back, strictly.

What msgspec says of a fault may repeat the fault, so of that only the path of the field is passed on.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from varde_contract.refusals import RefusalCode, Refused

JSON: Final = "application/json"
T = TypeVar("T", bound=Struct)

_PATH: Final = re.compile(r" - at `\$([a-z0-9_.\[\]]*)`\Z")
_NO_JSON: Final = Refused(RefusalCode.MALFORMED, "The body is not JSON.")
_TWICE: Final = Refused(RefusalCode.MALFORMED, "A query parameter is there twice.")


class BodyReader(Generic[T]):
    """Reads bodies of one kind. No conversions: a number in quotes is not a number."""

    def __init__(self, kind: type[T]) -> None:
        self.kind = kind
        self._decoder = msgspec.json.Decoder(kind)
        self._names = _field_names(kind)

    def read(self, body: bytes) -> T | Refused:
        """Read a body. Refuses `malformed`, naming the field."""
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError as error:
            return _misfit("body", self.kind, self._names, error)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _NO_JSON


class QueryReader(Generic[T]):
    """Reads query strings of one kind. Parameters are text, so here numbers and ids are converted."""

    def __init__(self, kind: type[T]) -> None:
        self.kind = kind
        self._names = _field_names(kind)

    def read(self, query: Mapping[str, Sequence[str]]) -> T | Refused:
        """Read the parameters. Refuses `malformed`."""
        if any(len(values) != 1 for values in query.values()):
            return _TWICE
        try:
            return msgspec.convert({name: values[0] for name, values in query.items()}, self.kind, strict=False)
        except msgspec.ValidationError as error:
            return _misfit("query", self.kind, self._names, error)


def _misfit(where: str, kind: type[Struct], names: frozenset[str], error: msgspec.ValidationError) -> Refused:
    found = _PATH.search(str(error))
    path = found[1] if found else ""
    known = path if set(re.findall(r"[a-z_]+", path)) <= names else ""
    return Refused(RefusalCode.MALFORMED, f"The {where} is not a {kind.__name__}: look at {where}{known}.")


def _field_names(kind: type[Struct]) -> frozenset[str]:
    _, components = msgspec.json.schema_components([kind])
    return frozenset(name for component in components.values() for name in _properties(component))


def _properties(schema: Mapping[str, Any]) -> Sequence[str]:
    return tuple(schema.get("properties", ()))
