"""Hypothesis strategies for Structs, derived from their types alone, every `Meta` honoured."""

from collections.abc import Iterable
from datetime import UTC
from functools import cache
from typing import Any, Final, TypedDict, TypeVar

import msgspec.inspect as mi
from hypothesis import strategies as st
from msgspec import Struct

from tests.contract.edges import text_of
from tests.ids import id_of

S = TypeVar("S", bound=Struct)

INT64: Final = 2**63
SHORT: Final = 40
FEW: Final = 4
"""Examples stay below these lengths: what is as long as its type allows is an edge, tested as one."""


class Sizes(TypedDict):
    """How long Hypothesis may make something."""

    min_size: int
    max_size: int


@cache
def structs(kind: type[S]) -> st.SearchStrategy[S]:
    """Any valid value of a Struct."""
    return _of(mi.type_info(kind))


def one_of(kinds: Iterable[type[S]]) -> st.SearchStrategy[S]:
    """Any valid value of any of these Structs."""
    return st.one_of([structs(kind) for kind in kinds])


def _of(kind: mi.Type) -> st.SearchStrategy[Any]:
    match kind:
        case mi.Metadata():
            return _of(kind.type)
        case mi.UnionType():
            return st.one_of([_of(each) for each in kind.types])
        case mi.StructType():
            return st.builds(kind.cls, **{field.name: _of(field.type) for field in kind.fields})
        case mi.DictType():
            return st.dictionaries(_of(kind.key_type), _of(kind.value_type), **_sizes(kind, FEW))
        case mi.VarTupleType():
            return st.lists(_of(kind.item_type), **_sizes(kind, FEW)).map(tuple)
    return _scalar(kind)


def _scalar(kind: mi.Type) -> st.SearchStrategy[Any]:
    match kind:
        case mi.NoneType():
            return st.none()
        case mi.BoolType():
            return st.booleans()
        case mi.IntType():
            return st.integers(-INT64 if kind.ge is None else kind.ge, INT64 - 1 if kind.le is None else kind.le)
        case mi.StrType(pattern=str()):
            return _patterned(kind)
        case mi.StrType():
            return st.text(**_sizes(kind, SHORT))
        case mi.BytesType():
            return st.binary(**_sizes(kind, SHORT))
        case mi.CustomType():
            return st.integers(0, 2**62 - 1).map(id_of)
        case mi.EnumType():
            return st.sampled_from(kind.cls)
        case mi.DateTimeType():
            return st.datetimes(timezones=st.just(UTC))
    raise TypeError(f"no strategy for {kind!r}: add one here")


def _patterned(kind: mi.StrType) -> st.SearchStrategy[str]:
    start, letters = text_of(kind)
    rest = st.text(
        letters, min_size=(kind.min_length or 1) - len(start), max_size=(kind.max_length or SHORT) - len(start)
    )
    return rest.map(start.__add__)


def _sizes(kind: mi.StrType | mi.BytesType | mi.DictType | mi.VarTupleType, enough: int) -> Sizes:
    shortest = kind.min_length or 0
    most = enough if kind.max_length is None else min(kind.max_length, enough)
    return Sizes(min_size=shortest, max_size=max(shortest, most))
