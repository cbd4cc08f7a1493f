"""The table of the interface's methods: a name, what it takes, and a function of the opened client."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, TypeVar, get_type_hints

from msgspec import Struct

import varde

P = TypeVar("P", bound=Struct)


class Method(NamedTuple):
    """A method: the Struct of its params, and what carries it out."""

    name: str
    params: type[Struct]
    run: Callable[[varde.Client, Any], Awaitable[object]]

    @property
    def about(self) -> str:
        """What it does, in words."""
        return inspect.cleandoc(self.run.__doc__ or "")

    @property
    def returns(self) -> Any:
        """The type of its result."""
        return get_type_hints(self.run, include_extras=True)["return"]


REGISTERED: Final[dict[str, Method]] = {}


def method(name: str) -> Callable[[Callable[[varde.Client, P], Awaitable[object]]], Any]:
    """Register a method: its docstring, and the types of `params` and of what it returns, are its documentation."""

    def add(run: Callable[[varde.Client, P], Awaitable[object]]) -> Callable[[varde.Client, P], Awaitable[object]]:
        params = get_type_hints(run)["params"]
        REGISTERED[name] = Method(name, params, run)
        return run

    return add


class Params(Struct, forbid_unknown_fields=True):
    """What a method takes: nothing else is let pass."""


class Nothing(Params):
    """Takes nothing."""
