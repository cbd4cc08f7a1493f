"""The repository as these tests see it: its files, and the syntax trees of those in Python."""

import ast
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

ROOT: Final = Path(__file__).parents[2]
ROOMS: Final = (
    *("varde_contract", "settings", "observability", "tls", "domain", "storage", "relay", "api", "worker"),
    *("varde", "varde_cli", "supervisor", "operations", "demo", "loadtest", "bench", "chaos", "simulation"),
)
SERVER_ROOMS: Final = ROOMS[: ROOMS.index("varde")]

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


class Source(NamedTuple):
    """One Python file. `name` is its path in the repository."""

    name: str
    path: Path

    @property
    def room(self) -> str:
        """The top-level folder."""
        return self.name.split("/")[0]

    @property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return _parse(self.path)

    @property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of the tree."""
        return _walk(self.path)

    @property
    def calls(self) -> Iterator[ast.Call]:
        """Every call in the file."""
        return (each for each in self.nodes if isinstance(each, ast.Call))

    @property
    def lines(self) -> list[str]:
        """The text, line by line; line 1 is the first."""
        return self.path.read_text(encoding="utf-8").splitlines()

    def at(self, node: ast.stmt | ast.expr) -> str:
        """Where a node stands, as editors understand it."""
        return f"{self.name}:{node.lineno}"


@cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _walk(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(_parse(path)))


def forget() -> None:
    """Forget what was parsed."""
    _parse.cache_clear()
    _walk.cache_clear()


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that is in the repository or would be with the next commit."""
    command = ("git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return tuple(path for name in sorted(filter(None, listed.split("\0"))) if (path := ROOT / name).is_file())


@cache
def sources(*rooms: str) -> tuple[Source, ...]:
    """The Python files of these rooms, or of the whole repository."""
    found = (Source(path.relative_to(ROOT).as_posix(), path) for path in tracked() if path.suffix == ".py")
    return tuple(source for source in found if not rooms or source.room in rooms)


def expect_none(found: Iterable[object], remedy: str) -> None:
    """Fail with the whole list, one a line, and with what to do about it."""
    listed = sorted(map(str, found))
    assert not listed, "\n  ".join((f"{remedy}:", *listed))


def functions(source: Source) -> Iterator[Function]:
    """Every function of a file, methods and inner functions too."""
    return (node for node in source.nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def tests() -> Iterator[tuple[Source, Function]]:
    """Every test function of the repository."""
    for source in sources("tests"):
        if source.path.name.startswith("test_"):
            yield from ((source, each) for each in functions(source) if each.name.startswith("test_"))


def dotted(node: ast.AST) -> str:
    """A name with its attributes, like `trio.open_nursery`; empty for what is not one."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else node.attr
    return node.id if isinstance(node, ast.Name) else ""


def imports(source: Source) -> Iterator[tuple[ast.stmt, str]]:
    """Every module that a file imports, wherever in the file it does."""
    for node in source.nodes:
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node, node.module
