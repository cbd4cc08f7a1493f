"""The walls between the rooms that import-linter cannot see: tasks, loops, clocks and the environment."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

from tests.house import tree

NOT_IN_THE_CONTRACT: Final = {
    *("trio", "asyncio", "anyio", "uvloop", "socket", "ssl", "select", "threading", "subprocess"),
    *("time", "random", "secrets", "os", "websockets", "httpx", "quart", "asyncpg", "sqlite3"),
}
CLOCKS: Final = {"datetime.now", "datetime.utcnow", "date.today", "datetime.datetime.now", "uuid.uuid4", "uuid4"}


def found_in(source: tree.Source, node: ast.AST, wanted: str) -> Iterator[str]:
    """The functions around each call whose name ends with `wanted`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, tree.Function):
            calls = (each for each in ast.walk(child) if isinstance(each, ast.Call))
            own = [call for call in calls if tree.dotted(call.func).split(".")[-1] == wanted]
            inner = list(found_in(source, child, wanted))
            yield from inner or [child.name] * bool(own)
        else:
            yield from found_in(source, child, wanted)


def test_nurseries_open_where_the_picture_says() -> None:
    """The relay's tree of tasks is drawn once, in `run_node`: nurseries open there and in `serve_connection` only."""
    found = {
        f"{source.name}: {name}"
        for source in tree.sources("relay")
        for name in found_in(source, source.tree, "open_nursery")
        if name not in {"run_node", "serve_connection"}
    }
    tree.expect_none(found, "nurseries outside of run_node and serve_connection")


def test_the_picture_is_true() -> None:
    """`run_node` does open a nursery, so the test above is not green because nobody does."""
    names = {name for source in tree.sources("relay") for name in found_in(source, source.tree, "open_nursery")}
    assert "run_node" in names


def test_the_contract_imports_nothing_that_waits() -> None:
    """The contract has no clock, no chance, no socket and no loop."""
    found = [
        f"{source.at(node)} {module}"
        for source in tree.sources("varde_contract")
        for node, module in tree.imports(source)
        if module.split(".")[0] in NOT_IN_THE_CONTRACT
    ]
    found += [
        f"{source.at(call)} {tree.dotted(call.func)}"
        for source in tree.sources("varde_contract")
        for call in source.calls
        if tree.dotted(call.func) in CLOCKS
    ]
    tree.expect_none(found, "things that wait, in the contract")


def test_the_contract_awaits_nothing() -> None:
    """There is no `await` and no `async` in the contract."""
    waiting = ast.Await | ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith
    found = [
        source.name for source in tree.sources("varde_contract") for node in source.nodes if isinstance(node, waiting)
    ]
    tree.expect_none(found, "files of the contract that await")


def test_the_contract_can_live_in_a_locust_process() -> None:
    """Importing every module of the contract brings in neither Trio nor asyncio, also not through somebody else."""
    modules = [source.name.removesuffix(".py").replace("/", ".") for source in tree.sources("varde_contract")]
    named = [module.removesuffix(".__init__") for module in modules]
    program = f"import sys, importlib; [importlib.import_module(m) for m in {named}]; print(*sys.modules)"
    loaded = subprocess.run((sys.executable, "-c", program), cwd=tree.ROOT, check=True, capture_output=True, text=True)
    found = {"trio", "asyncio", "gevent", "websockets"} & set(loaded.stdout.split())
    tree.expect_none(found, "modules that come with the contract")


def test_asyncio_lives_on_its_island() -> None:
    """Only storage, the full-screen chat, the SDK for asyncio, and programs that the load rooms start."""
    # Seeding is a program of its own that ends: one COPY over asyncpg, without a server's life around it.
    load = ("bench/servers/", "bench/costs.py", "loadtest/crowd/seeding.py")
    # The chat's screen is prompt_toolkit, whose loop it is. The client has a thread of its own.
    chat = ("varde_cli/chat/", "tests/cli/chat/")
    # For programs of asyncio: Trio is a guest in their loop.
    facades = ("varde/aio.py", "varde/blocking.py", "varde/bot.py", "tests/end_to_end/test_facades.py")
    others = ("storage/", "tests/storage/", *chat, *facades, *load)
    found = [
        f"{source.at(node)} {module}"
        for source in tree.sources(*tree.ROOMS, "tests")
        if not source.name.startswith(others)
        for node, module in tree.imports(source)
        if module.split(".")[0] in {"asyncio", "uvloop", "anyio"}
    ]
    tree.expect_none(found, "asyncio outside of storage; the island is there for it")


def reads_environment(source: tree.Source) -> Iterator[str]:
    """Where a file reads the environment, other than to hand all of it to a `from_environ`."""
    handed = {
        id(argument)
        for call in source.calls
        if tree.dotted(call.func).endswith("from_environ")
        for argument in call.args
    }
    # What is written there is for libraries, and tells the server nothing.
    handed |= {
        id(each.value) for each in source.nodes if isinstance(each, ast.Subscript) and isinstance(each.ctx, ast.Store)
    }
    for node in source.nodes:
        reads = isinstance(node, ast.Attribute) and tree.dotted(node) in {"os.environ", "os.getenv", "os.environb"}
        imported = (
            isinstance(node, ast.ImportFrom) and node.module == "os" and "environ" in {a.name for a in node.names}
        )
        if imported or (reads and id(node) not in handed):
            assert isinstance(node, ast.expr | ast.stmt)
            yield source.at(node)


def test_only_settings_read_the_environment() -> None:
    """A server is told everything by its settings, which `from_environ` makes from one mapping."""
    found = [place for source in tree.sources(*tree.SERVER_ROOMS) for place in reads_environment(source)]
    tree.expect_none(found, "readers of the environment; let `from_environ` do it")


def within(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when a node runs: not what stands in a function that it only defines."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, tree.Function | ast.Lambda):
            yield child
            yield from within(child)


def waits_in_transactions(source: tree.Source) -> Iterator[str]:
    """The waits inside the transactions of a store."""
    for block in source.nodes:
        if isinstance(block, ast.With) and any(
            isinstance(item.context_expr, ast.Call) and tree.dotted(item.context_expr.func).endswith(".transaction")
            for item in block.items
        ):
            yield from (
                source.at(each) for each in within(block) if isinstance(each, ast.Await | ast.AsyncFor | ast.AsyncWith)
            )


def test_nothing_waits_in_a_transaction_of_the_store() -> None:
    """Others would write into it meanwhile; and a client that dies in one has told nobody of it."""
    found = [place for source in tree.sources("varde") for place in waits_in_transactions(source)]
    tree.expect_none(found, "waits inside a transaction of the store")
