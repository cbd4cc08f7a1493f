"""What a fresh clone holds: nothing of the machine it was made on, and requirements that cannot be swapped."""

import re
from collections.abc import Iterator
from typing import Final

import pytest

from tests.house import tree

# Written so that this file does not find itself.
MACHINE: Final = re.compile(
    r"(?<![\w.~}])/(work|home/[a-z]+|root|Users/[A-Za-z]+|mnt/[a-z])/(?!\*)|[A-Z]:\\\\" + "Users"
)
INDEX: Final = re.compile(
    "|".join((r"pypi\.or" + "g", "pythonhoste" + "d", r"--(extra-)?index-ur" + "l", "--find-link" + "s"))
)
LOCKS: Final = ("requirements/client.txt", "requirements/runtime.txt", "requirements/dev.txt")


def texts() -> Iterator[tuple[str, int, str]]:
    """Every line of every text file, with its file and number."""
    for path in tree.tracked():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            yield path.relative_to(tree.ROOT).as_posix(), number, line


def test_no_file_names_a_machine() -> None:
    """No path of somebody's machine is in any file."""
    found = [f"{name}:{number} {line.strip()[:80]}" for name, number, line in texts() if MACHINE.search(line)]
    tree.expect_none(found, "paths of somebody's machine; make them relative")


def test_no_file_names_a_package_index() -> None:
    """Where packages come from is the business of whoever installs: no address of an index, no option for one."""
    allowed = {"--no-emit-index-url"}
    found = []
    for name, number, line in texts():
        if INDEX.search(line) and not any(word in line for word in allowed):
            found.append(f"{name}:{number}")
    tree.expect_none(found, "addresses of a package index; leave them to whoever installs")


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_is_locked_with_hashes(name: str) -> None:
    """Each package has one version and at least one SHA-256, so that nobody can put another in its place."""
    text = (tree.ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    wanted = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert wanted
    pinned = re.compile(r"^[A-Za-z0-9._-]+(\[[a-z,]+\])?==\S+( ;[^-]*)?(\s+--hash=sha256:[0-9a-f]{64})+\s*$")
    loose = [line[:60] for line in wanted if not pinned.match(line)]
    tree.expect_none(loose, "requirements without a version and a hash; run `make lock`")


def test_what_is_tested_is_what_runs() -> None:
    """Client and server have the same version of what both need, and development has that version of everything."""
    versions = []
    for name in LOCKS:
        text = (tree.ROOT / name).read_text(encoding="utf-8")
        versions.append(dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==(\S+)", text, re.MULTILINE)))
    client, runtime, development = versions
    assert {package: runtime.get(package) for package in client} == client
    assert {package: development.get(package) for package in runtime} == runtime


def test_no_secret_is_in_the_repository() -> None:
    """No private key in PEM is in any file, and no file of keys."""
    pem = "-----BEGIN " + r"[A-Z ]*PRIVATE KEY"
    found = [name for name, _, line in texts() if re.search(pem, line)]
    found += [str(path) for path in tree.tracked() if path.suffix in {".key", ".pem", ".p12"}]
    tree.expect_none(found, "secrets; take them out, and replace them where they are used")
