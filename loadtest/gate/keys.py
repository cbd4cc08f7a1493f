"""Dotted keys into `result.json`: whether there is such a key, and what a result holds there.

`latency_ms.send_to_receive.p99`; in a list, a name says which: `stages.after.latency_ms.connect.p99`.
"""

import types
import typing
from typing import Any

import msgspec
from msgspec import Struct

_NUMBERS = (int, float)


def fault_of(key: str, kind: type[Struct]) -> str | None:
    """Return why `key` leads to no number in a `kind`, None when it does."""
    here: Any = kind
    for part in key.split("."):
        here = _step(here, part)
        if here is None:
            return f"there is no `{part}` in `{key}`"
    return None if here in _NUMBERS else f"`{key}` is not a number"


def value_of(key: str, root: Struct) -> float | None:
    """Return the number there; None where nothing was measured. What is counted by name and absent is 0."""
    here: Any = root
    for part in key.split("."):
        if isinstance(here, dict):
            here = here.get(part, 0)
        elif isinstance(here, list):
            here = next((each for each in here if each.name == part), None)
        else:
            here = getattr(here, part)
        if here is None:
            return None
    return float(here)


def _step(kind: Any, part: str) -> Any:
    """Return the type one step further, None where there is none."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is dict:
        return _plain(arguments[1])
    if origin is list:
        return arguments[0] if _is_struct(arguments[0]) and "name" in arguments[0].__struct_fields__ else None
    if not _is_struct(kind):
        return None
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    return _plain(fields[part]) if part in fields else None


def _plain(kind: Any) -> Any:
    """Return a type without its None."""
    if typing.get_origin(kind) in {types.UnionType, typing.Union}:
        return next(each for each in typing.get_args(kind) if each is not type(None))
    return kind


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)
