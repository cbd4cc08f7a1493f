"""What CI runs is what a person runs, and it brings every program the tests ask for."""

import ast
import re
import subprocess
from typing import Final

from tests.house import tree

SCRIPT: Final = tree.ROOT / ".ci" / "run"


def packages_asked_for() -> set[str]:
    """The Debian package of every `require` in the tests."""
    found = set()
    for source in tree.sources("tests"):
        if source.path.name != "test_system.py":
            for call in source.calls:
                if tree.dotted(call.func).split(".")[-1] == "require" and isinstance(call.args[-1], ast.Constant):
                    found.add(str(call.args[-1].value))
    return found


def test_ci_installs_what_the_tests_require() -> None:
    """Every package that a test asks for is in the list of the CI script, so that nothing is skipped there."""
    listed = re.search(r"^packages=\(([^)]*)\)", SCRIPT.read_text(encoding="utf-8"), re.MULTILINE)
    assert listed is not None
    asked = packages_asked_for()
    assert asked
    tree.expect_none(asked ^ set(listed[1].split()), "packages that only the tests or only .ci/run know")


def test_ci_can_be_run() -> None:
    """The script is executable and is bash."""
    assert SCRIPT.stat().st_mode & 0o111 == 0o111
    subprocess.run(("bash", "-n", SCRIPT), check=True)


def test_ci_asks_for_both_verbs() -> None:
    """CI is `make check` and `make test`, under REQUIRE_SYSTEM, and nothing a person could not run."""
    script = SCRIPT.read_text(encoding="utf-8")
    assert re.findall(r"^make (\w+)", script, re.MULTILINE) == ["check", "test"]
    assert script.index("export REQUIRE_SYSTEM=1") < script.index("\nmake check")


def test_every_verb_of_the_makefile_explains_itself() -> None:
    """`make help` lists each verb with what it does, and there are few."""
    makefile = (tree.ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    explained = re.findall(r"^([a-z]+):.*## \w", makefile, re.MULTILINE)
    assert sorted(explained) == sorted(phony[1].split())
    assert len(explained) <= 15
