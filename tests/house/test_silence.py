"""Logs say what happened, never to whom."""

import ast
import re
from typing import Final

from tests.house import tree

LEVELS: Final = {"debug", "info", "warning", "error", "exception", "critical", "log"}
LOGGERS: Final = re.compile(r"^_?(log|logger|logging)$", re.IGNORECASE)
SECRET: Final = re.compile(
    r"(^|_)(ids?|tokens?|tickets?|keys?|secrets?|emails?|address(es)?|passwords?|passphrase|phrase|otp|"
    r"accounts?|profiles?|devices?|conversations?|sealed|cipher(text)?s?|plaintext|payload|envelope|hello|noise|url)$"
)


def logging_calls(source: tree.Source) -> list[ast.Call]:
    """Every call that writes a log line."""
    return [
        call
        for call in source.calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in LEVELS
        and LOGGERS.match(tree.dotted(call.func.value).split(".")[-1])
    ]


def names_in(call: ast.Call) -> set[str]:
    """The last part of every name among the arguments: `device.id` is both `device` and `id`."""
    found = set()
    for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
        for node in ast.walk(argument):
            if isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.Name):
                found.add(node.id)
    return found


def test_no_log_line_names_anybody() -> None:
    """Ids, tokens, keys, tickets, addresses and ciphertext are not among the arguments of any log call."""
    found = [
        f"{source.at(call)} {sorted(filter(SECRET.search, names_in(call)))}"
        for source in tree.sources(*tree.ROOMS)
        for call in logging_calls(source)
        if any(map(SECRET.search, names_in(call)))
    ]
    tree.expect_none(found, "log calls that name somebody; say what happened, not to whom")


def test_log_calls_are_seen() -> None:
    """The rooms do log, so the test above is not green because it looks in the wrong place."""
    assert [call for source in tree.sources(*tree.ROOMS) for call in logging_calls(source)]


def test_nothing_is_printed_by_a_server() -> None:
    """Servers write their one line of readiness to stdout by hand, and have no `print` left from a search for a bug."""
    found = [
        source.at(call)
        for source in tree.sources(*tree.SERVER_ROOMS)
        for call in source.calls
        if tree.dotted(call.func) in {"print", "pprint", "breakpoint"}
    ]
    tree.expect_none(found, "prints in a server")
