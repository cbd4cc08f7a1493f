"""No port is taken, let go, and used later: on a busy machine somebody else gets it meanwhile."""

import ast
from collections.abc import Iterable
from typing import Final

import pytest

from tests.house import tree

OPENS: Final = {"create_server", "socket"}
READS: Final = {"getsockname", "bind", "setsockopt", "int", "str"}


def called(nodes: Iterable[ast.AST]) -> set[str]:
    """The last part of the name of everything that is called there."""
    calls = (each for node in nodes for each in ast.walk(node) if isinstance(each, ast.Call))
    return {tree.dotted(call.func).split(".")[-1] for call in calls}


def only_asks_for_a_port(block: ast.With) -> bool:
    """Whether a block has a socket for nothing but to read which port the kernel gave it, and then closes it."""
    opens = called(item.context_expr for item in block.items) & OPENS
    yields = any(isinstance(node, ast.Yield) for node in ast.walk(block))
    return bool(opens) and "getsockname" in (said := called(block.body)) and said <= READS and not yields


def test_a_port_is_held_or_not_one_of_the_kernels() -> None:
    """A port is held bound for as long as it is meant, or comes from `supervisor.ports.free_port`."""
    found = [
        source.at(node)
        for source in tree.sources(*tree.ROOMS, "tests")
        for node in source.nodes
        if isinstance(node, ast.With) and only_asks_for_a_port(node)
    ]
    tree.expect_none(found, "ports that are let go before they are used: see supervisor/ports.py")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("with socket.create_server(('::1', 0)) as free:\n    port = free.getsockname()[1]", True),
        ("with socket.socket() as s:\n    s.bind(('::1', 0))\n    port = int(s.getsockname()[1])", True),
        ("with socket.socket() as s:\n    s.bind(('::1', 0))\n    use(s.getsockname())", False),
        ("with socket.create_server(('::1', 0)) as s:\n    yield s.getsockname()[1]", False),
    ],
)
def test_the_kind_is_recognized(text: str, *, found: bool) -> None:
    """The forms that it had; and not a port that is used, or handed out, while it is held."""
    (block,) = ast.parse(text).body
    assert isinstance(block, ast.With)
    assert only_asks_for_a_port(block) is found
