"""Nothing goes over a set whose order differs from process to process: a simulation could not be repeated.

A set of UUIDs or numbers has the same order everywhere, as their hashes do not change. Strings and bytes are hashed
with a seed of the process (PYTHONHASHSEED), and objects of our own by their address.
"""

import ast
from collections.abc import Iterator
from typing import Final

from tests.house import tree

ROOMS: Final = ("relay", "domain", "varde", "varde_contract", "api", "worker", "simulation")
SETS: Final = {"set", "frozenset", "Set", "AbstractSet", "WeakSet"}
SAME_EVERYWHERE: Final = {"int", "UUID"}
ORDER_DOES_NOT_MATTER: Final = {"sorted", "set", "frozenset", "len", "any", "all", "sum", "min", "max", "Counter"}
IN_ORDER: Final = {"list", "tuple", "iter", "enumerate", "zip", "map", "filter", "dict.fromkeys", "deque"}


def element_of(annotation: ast.expr | None) -> str | None:
    """The element of a set type as text, empty when it is not said; None for what is no set."""
    if isinstance(annotation, ast.BinOp):  # set[A] | None
        return element_of(annotation.left) or element_of(annotation.right)
    if isinstance(annotation, ast.Subscript) and tree.dotted(annotation.value).split(".")[-1] in SETS:
        return ast.unparse(annotation.slice)
    return "" if annotation is not None and tree.dotted(annotation).split(".")[-1] in SETS else None


def is_ordered(element: str) -> bool:
    """Whether a set of these has the same order in every process."""
    return element in SAME_EVERYWHERE or (element.endswith("Id") and element.isidentifier())


def sets_of(source: tree.Source) -> dict[str, str]:
    """The names in a file that are sets of what has no order, with their element."""
    found: dict[str, str | None] = {}
    for node in source.nodes:
        if isinstance(node, ast.AnnAssign):
            found[ast.unparse(node.target)] = element_of(node.annotation)
        elif isinstance(node, ast.arg):
            found.setdefault(node.arg, element_of(node.annotation))
        elif isinstance(node, tree.Function):
            found[f"{node.name}()"] = element_of(node.returns)
    return {name: element for name, element in found.items() if element is not None and not is_ordered(element)}


def iterated(source: tree.Source) -> Iterator[ast.expr]:
    """Everything that is gone over in an order that somebody sees."""
    harmless = {
        id(argument)
        for call in source.calls
        if tree.dotted(call.func) in ORDER_DOES_NOT_MATTER
        for argument in call.args
    }
    for node in source.nodes:
        if isinstance(node, ast.For | ast.AsyncFor):
            yield node.iter
        elif isinstance(node, ast.ListComp | ast.DictComp) or (
            isinstance(node, ast.GeneratorExp) and id(node) not in harmless
        ):
            yield from (each.iter for each in node.generators if id(node) not in harmless)
        elif isinstance(node, ast.Starred):
            yield node.value
        elif isinstance(node, ast.Call) and tree.dotted(node.func) in IN_ORDER:
            yield from node.args


def unordered(source: tree.Source) -> Iterator[str]:
    """The places of a file where something goes over a set without an order."""
    named = sets_of(source)
    for expression in iterated(source):
        name = ast.unparse(expression)
        if isinstance(expression, ast.Call):
            name = f"{tree.dotted(expression.func).split('.')[-1]}()"
        if isinstance(expression, ast.Set | ast.SetComp) or name in {"set()", "frozenset()"} or name in named:
            yield f"{source.at(expression)} {ast.unparse(expression)}"


def test_no_set_without_an_order_is_gone_over() -> None:
    """In all that a simulation runs, and in itself, nothing iterates over such a set."""
    found = [place for source in tree.sources(*ROOMS) for place in unordered(source)]
    tree.expect_none(found, "go over sorted(...) or a dict instead of")
