"""Tests wait for events, never for time, and time nothing."""

import ast
import re
from typing import Final

from tests.house import tree

SLEEPS: Final = {"time.sleep", "trio.sleep", "sleep", "anyio.sleep", "asyncio.sleep"}
STOPWATCH: Final = re.compile(
    r"^(elapsed|duration|latency|lasted|seconds|took_m?s|.*_(elapsed|duration|latency|seconds))$"
)
CLOCKS: Final = {"time.monotonic", "time.perf_counter", "time.time", "perf_counter", "monotonic", "time.monotonic_ns"}


def is_time(node: ast.expr) -> bool:
    """Whether a node is an amount of time that was written down: a positive number, or a constant's name."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) and node.value > 0
    if isinstance(node, ast.BinOp):
        return is_time(node.left) or is_time(node.right)
    return tree.dotted(node).split(".")[-1].isupper()


def test_no_test_sleeps_without_saying_why() -> None:
    """A sleep of a fixed length has its reason in a comment, on its line or right above, or it is not there."""
    found = []
    for source in tree.sources("tests"):
        for call in source.calls:
            if tree.dotted(call.func) in SLEEPS and call.args and is_time(call.args[0]):
                around = source.lines[max(0, call.lineno - 3) : call.lineno]
                if not any(re.search(r"#.*\w{3}.*\w{3}", line) for line in around):
                    found.append(source.at(call))
    tree.expect_none(found, "sleeps without a reason beside them; wait for what happens instead")


def test_no_test_asserts_how_long_something_took() -> None:
    """A timing is a benchmark: on a busy machine it turns red for nothing."""
    found = []
    for source in tree.sources("tests"):
        for node in source.nodes:
            if isinstance(node, ast.Assert):
                names = {
                    tree.dotted(each) for each in ast.walk(node.test) if isinstance(each, ast.Name | ast.Attribute)
                }
                ordered = [
                    each
                    for each in ast.walk(node.test)
                    if isinstance(each, ast.Compare)
                    and any(isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for op in each.ops)
                ]
                if ordered and (names & CLOCKS or any(STOPWATCH.match(name.split(".")[-1]) for name in names)):
                    found.append(source.at(node))
    tree.expect_none(found, "assertions about a duration; assert what happened instead")


def test_no_test_is_skipped_for_ever() -> None:
    """A skip or an expected failure gives its reason, and none is unconditional."""
    found = []
    for source, function in tree.tests():
        for mark in function.decorator_list:
            name = tree.dotted(mark.func if isinstance(mark, ast.Call) else mark)
            reasons = {keyword.arg for keyword in mark.keywords} if isinstance(mark, ast.Call) else set()
            if name.endswith("mark.skip") or (name.endswith(("skipif", "xfail")) and "reason" not in reasons):
                found.append(source.at(function))
    tree.expect_none(found, "skips without a reason or without a condition")


def test_nothing_is_mocked() -> None:
    """Doubles record or interfere, and live in tests/doubles; a mock agrees with whatever its author believed."""
    found = [
        f"{source.at(node)} {module}"
        for source in tree.sources("tests")
        for node, module in tree.imports(source)
        if module.split(".")[0] in {"mock", "pytest_mock"} or module == "unittest.mock"
    ]
    tree.expect_none(found, "mocks; write a double that records or interferes")
