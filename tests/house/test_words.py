"""What a file, a class and a test say about themselves. Refuses to look at what they do."""

import ast
import re
from typing import Final

from tests.house import tree

VAGUE: Final = {"manager", "handler", "helper", "util", "common", "base", "data", "info"}
SENTENCE_END: Final = re.compile(r"[.!?:](?=\s|$)")
# A refusal says no, or says where else it is.
REFUSING: Final = re.compile(
    r"\b(refus\w*|never|no|not|nothing|nobody|none|nor|neither|only|cannot|without|elsewhere|(is|are|lives?) in)\b",
    re.IGNORECASE,
)


def vague(words: list[str]) -> bool:
    """Whether one of the words says nothing."""
    return any(word.lower() in VAGUE or word.lower().removesuffix("s") in VAGUE for word in words)


def parts(name: str) -> list[str]:
    """The words of a class's name."""
    return re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*", name)


def test_every_file_says_what_lives_in_it_and_what_it_refuses() -> None:
    """A file opens with a docstring of two sentences or more, one of them a refusal."""
    silent = []
    for source in tree.sources():
        said = ast.get_docstring(source.tree) or ""
        if len(SENTENCE_END.findall(said)) < 2 or not REFUSING.search(said):
            silent.append(source.name)
    tree.expect_none(silent, "files that do not open with what lives in them and what they refuse, in two sentences")


def test_no_file_has_a_vague_name() -> None:
    """Nobody has to open a file to learn what it is about."""
    names = [path.relative_to(tree.ROOT) for path in tree.tracked() if path.suffix in {".py", ".sql", ".md"}]
    found = [name for name in names if vague(re.split(r"[_\-.]", name.stem))]
    tree.expect_none(found, f"files called after nothing (none of {', '.join(sorted(VAGUE))})")


def test_no_class_has_a_vague_name() -> None:
    """A class is called what it is in the field: Hub, Journal, Ticket."""
    found = [
        f"{source.at(node)} {node.name}"
        for source in tree.sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef) and vague(parts(node.name))
    ]
    tree.expect_none(found, f"classes called after nothing (none of {', '.join(sorted(VAGUE))})")


def test_every_test_states_its_promise() -> None:
    """A test's docstring is one sentence: the promise that it keeps."""
    found = []
    for source, function in tree.tests():
        said = ast.get_docstring(function) or ""
        sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z])", said.strip())
        if not said or len(sentences) > 1 or not said.rstrip().endswith((".", "!", "?")):
            found.append(f"{source.at(function)} {function.name}")
    tree.expect_none(found, "tests whose docstring is not one sentence with a full stop")


def test_no_comment_is_a_banner_or_a_promise_to_oneself() -> None:
    """A comment says why; lines of dashes, and what somebody will surely do later, are neither."""
    shouting = re.compile(r"^\s*#\s*([-=*#~]{3,}|.*\b(TO" + r"DO|FIX" + r"ME|X" + r"XX|HA" + r"CK)\b)")
    found = []
    for source in tree.sources():
        found += [f"{source.name}:{number}" for number, line in enumerate(source.lines, 1) if shouting.match(line)]
    tree.expect_none(found, "banners, and notes of what should be done some day")
