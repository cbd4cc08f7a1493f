"""docs/load-testing.md says what the catalogue, the objectives and the result are."""

import re
from typing import Final

import msgspec
import pytest

from loadtest.command.cli import loadtest
from loadtest.command.runs import amounts_of, shape_of
from loadtest.exits import EXIT_CODES
from loadtest.gate import RAMP_STAGE, Bound, keys_of, read_slo
from loadtest.report.formatting import figure
from loadtest.report.result import Messages, Result
from loadtest.scenarios.plan import SCENARIOS, Options
from tests.house import tree

PAGE: Final = (tree.ROOT / "docs" / "load-testing.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    """What stands below a heading, up to the next of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}$(.*?)(?=^#+ |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/load-testing.md has no heading {heading!r}"
    return found[1]


def objectives_in(said: str) -> list[tuple[str, str, str]]:
    """Key, goal and floor of each objective in a list; a line may stand for several keys."""
    lines = re.findall(r"^- `([^`]*)`: (.*?)(?: \(floor ([\d,.]+)\))?$", said, re.MULTILINE)
    return [(key, goal, floor) for keys, goal, floor in lines for key in keys_of(keys)]


def told(bound: Bound) -> tuple[str, str, str]:
    """An objective as the list says it."""
    goal = f"at {'least' if bound.at_most is None else 'most'} {figure(bound.goal)}"
    share = "" if bound.of is None else f" of `{bound.of}`"
    return bound.key, goal + share, "" if bound.floor is None else figure(bound.floor)


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_scenario_is_explained_as_it_is(name: str) -> None:
    """Each scenario has a section with its purpose, load shape and objectives."""
    scenario, said = SCENARIOS[name], section(name)
    plan = scenario.plan(Options())
    assert f"*{scenario.title}.* {scenario.shows}" in said
    assert f"Load: {amounts_of(plan)}." in said
    assert f"`{shape_of(plan)}`" in said
    assert objectives_in(said) == [told(bound) for bound in read_slo().bounds_of(name)]


def test_no_scenario_is_explained_that_is_not_there() -> None:
    """The sections below the scenarios are those of the catalogue, in its order."""
    headings = re.findall(r"^### (.*)$", PAGE.partition("\n## Scenarios\n")[2], re.MULTILINE)
    assert headings == list(SCENARIOS)


def test_the_exit_codes_are_explained() -> None:
    """Each verdict stands beside its code."""
    rows = re.findall(r"^\| (\d) \| `(\w+)` \|", section("The gate"), re.MULTILINE)
    assert {verdict: int(code) for code, verdict in rows} == {str(each): code for each, code in EXIT_CODES.items()}


def test_every_key_of_the_result_is_explained() -> None:
    """Each key at the top of result.json has its row, and each count of messages too."""
    keys = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", section("What is written"), re.MULTILINE)))
    wanted = {field.encode_name for field in msgspec.structs.fields(Result)}
    assert wanted <= set(keys), wanted - set(keys)
    account = section("Every message accounted for")
    counted = {field.encode_name for field in msgspec.structs.fields(Messages)}
    assert counted <= set(re.findall(r"`(\w+)`", account))


def test_every_command_is_explained() -> None:
    """Each command of `python -m loadtest` is in the table."""
    told = set(re.findall(r"`(\w+)[^`]*`", " ".join(re.findall(r"^\| (`.*?) \|", section("Run it"), re.MULTILINE))))
    assert told == set(loadtest.commands)


def test_the_breaking_of_a_ramp_is_explained() -> None:
    """Who reads of the ramp is led to the table that says when a stage is broken."""
    assert f"`[{RAMP_STAGE}]`" in section("ramp")
