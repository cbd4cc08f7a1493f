"""For every limit of every field of a Struct: the value exactly at the limit, and the first one beyond."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec.inspect as mi
from msgspec import Struct
from msgspec.structs import replace

from tests.ids import id_of


class Edge(NamedTuple):
    """A Struct of which one field stands at a limit (`good`) or one beyond it. `name` is for the test's id."""

    name: str
    struct: Struct
    good: bool


# What a text looks like where the type asks for a pattern: how it begins, and the letters to go on with.
TEXTS: Final = {
    "[A-Za-z0-9_-]{86}": ("", "Az09_-"),
    "[^@": ("a@", "bø.-"),
    "[0-9]{6,10}": ("", "0189"),
    "[A-Za-z0-9_+/-]+": ("", "Az09_+/-"),
}


def edges(kind: type[Struct]) -> Iterator[Edge]:
    """Yield the edges of one Struct."""
    plain = smallest(kind)
    for field in _type_of(kind).fields:
        for alternative in _alternatives(field.type):
            for what, value, good in _limits(alternative):
                name = f"{kind.__name__}-{field.name}-{what}-{'last' if good else 'beyond'}"
                yield Edge(name, replace(plain, **{field.name: value}), good)


def smallest(kind: type[Struct]) -> Struct:
    """Return a Struct whose every field is as small as it may be."""
    struct: Struct = _least(_type_of(kind))
    return struct


def _type_of(kind: type[Struct]) -> mi.StructType:
    found = mi.type_info(kind)
    assert isinstance(found, mi.StructType)
    return found


def _alternatives(kind: mi.Type) -> tuple[mi.Type, ...]:
    if isinstance(kind, mi.Metadata):
        return _alternatives(kind.type)
    if isinstance(kind, mi.UnionType):
        return tuple(found for each in kind.types for found in _alternatives(each))
    return (kind,)


def _limits(kind: mi.Type) -> Iterator[tuple[str, Any, bool]]:
    if isinstance(kind, mi.IntType):
        lower, upper = kind.ge, kind.le
    elif isinstance(kind, mi.StrType | mi.BytesType | mi.DictType | mi.VarTupleType):
        lower, upper = kind.min_length or None, kind.max_length
    else:
        return
    for what, limit, beyond in (("lower", lower, -1), ("upper", upper, 1)):
        if limit is not None:
            yield what, _sized(kind, limit), True
            yield what, _sized(kind, limit + beyond), False
    if isinstance(kind, mi.StrType) and kind.pattern is not None:
        yield "line-feed", _sized(kind, kind.min_length or 1) + "\n", False


def _sized(kind: mi.Type, size: int) -> Any:
    """Return the value `size` of an integer type, or a value with that length of any other."""
    match kind:
        case mi.IntType():
            return size
        case mi.BytesType():
            return b"\x01" * size
        case mi.StrType():
            start, letters = text_of(kind)
            return (start + letters[0] * size)[:size]
        case mi.DictType():
            return {id_of(number): _least(kind.value_type) for number in range(size)}
        case mi.VarTupleType():
            return (_least(kind.item_type),) * size
    raise TypeError(f"{kind!r} has no size")


def text_of(kind: mi.StrType) -> tuple[str, str]:
    """Return how a text of this type may begin, and the letters it may go on with."""
    if kind.pattern is None:
        return "", "ø"
    return next(text for part, text in TEXTS.items() if part in kind.pattern)


def _least(kind: mi.Type) -> Any:
    match kind:
        case mi.Metadata():
            return _least(kind.type)
        case mi.UnionType():
            return None if mi.NoneType() in kind.types else _least(kind.types[0])
        case mi.StructType():
            return kind.cls(**{field.name: _least(field.type) for field in kind.fields})
        case mi.EnumType():
            return next(iter(kind.cls))
        case mi.CustomType():
            return id_of(0)
        case mi.BoolType():
            return False
        case mi.DateTimeType():
            return datetime(2026, 1, 1, tzinfo=UTC)
        case mi.IntType():
            return kind.ge or 0
        case mi.StrType() | mi.BytesType() | mi.DictType() | mi.VarTupleType():
            return _sized(kind, kind.min_length or 0)
    raise TypeError(f"no smallest value for {kind!r}: add one here")
