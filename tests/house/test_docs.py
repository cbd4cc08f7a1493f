"""The docs are true where a program can tell: links lead somewhere, and every word of the contract is explained."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, get_args

import pytest

from api.http.problems import status_of
from domain.people.prekeys import CLAIMS_PER_ACCOUNT, KEYS_LOW
from settings.relay import RelaySettings
from tests.house import tree
from varde_contract import frames
from varde_contract.close_codes import CloseCode
from varde_contract.limits import PROBE_BYTES
from varde_contract.refusals import RefusalCode
from varde_contract.session import CLIENT_FRAMES, SERVER_FRAMES, State

PAGES: Final = tuple(path for path in tree.tracked() if path.suffix == ".md")
THREAT_MODEL: Final = tree.ROOT / "docs" / "threat-model.md"
LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name_of(path: Path) -> str:
    """A page's path in the repository."""
    return path.relative_to(tree.ROOT).as_posix()


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made on the web."""
    headings = re.findall(r"^#+\s+(.*)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"[`*_]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in plain}


def broken(page: Path) -> Iterator[str]:
    """The links of a page that lead nowhere in this repository."""
    for link in LINK.findall(prose(page)):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        there = (page.parent / target).resolve() if target else page
        if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
            yield link


def test_every_cannot_of_the_threat_model_names_a_test() -> None:
    """A row of what somebody cannot do is a claim: it names a file of tests that tries it."""
    tables = re.findall(r"^\| cannot \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", prose(THREAT_MODEL), re.MULTILINE)
    rows = [row for table in tables for row in table.splitlines()]
    assert len(rows) > 40
    tree.expect_none(
        (row.split(" | ")[0] for row in rows if not re.search(r"`tests/[\w/]+\.py`", row)), "claims without a test"
    )


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a page or a heading of this repository finds it."""
    tree.expect_none(broken(page), f"links of {name_of(page)} that lead nowhere")


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name != "decisions"], ids=name_of)
def test_files_that_are_named_exist(page: Path) -> None:
    """Every path in backticks that begins in a room, in docs or in tests is there. Decisions name what was, then."""
    start = "|".join((*tree.ROOMS, "docs", "tests", "requirements"))
    named = re.findall(rf"`((?:{start})/[\w./-]+)`", prose(page))
    gone = [path for path in named if not (tree.ROOT / path).exists()]
    tree.expect_none(gone, f"files that {name_of(page)} names and that are not there")


def test_tests_that_are_named_exist() -> None:
    """Where a page names the test that keeps a promise, there is one of that name. Decisions name what was, then."""
    tests = "\n".join(path.read_text(encoding="utf-8") for path in tree.tracked() if path.name.startswith("test_"))
    there = set(re.findall(r"def (test_\w+)\(", tests))
    pages = [page for page in PAGES if page.parent.name != "decisions"]
    named = {test for page in pages for test in re.findall(r"`(test_\w+)`", prose(page))}
    assert named
    tree.expect_none(sorted(named - there), "tests that are named and that are not there")


def test_every_page_can_be_reached() -> None:
    """From the README, link by link, one comes to every page of the docs."""
    reached, waiting = set(), [tree.ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or not page.is_file() or page.suffix != ".md":
            continue
        reached.add(page)
        waiting += [(page.parent / link.partition("#")[0]).resolve() for link in LINK.findall(prose(page))]
    docs = tree.ROOT / "docs"
    lost = [name_of(page) for page in PAGES if page.is_relative_to(docs) and page not in reached]
    tree.expect_none(lost, "pages that no link leads to, from the README on")


def rows(heading: str) -> list[list[str]]:
    """The cells of every table row under one heading of the protocol's page, without ticks."""
    text = (tree.ROOT / "docs/protocol.md").read_text(encoding="utf-8")
    section = re.search(rf"^#+ [\d. ]*{heading}$(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None, heading
    lines = [line for line in section[1].splitlines() if line.startswith("|") and not set(line) <= set("|-: ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


@pytest.mark.parametrize(
    ("heading", "union"), [("Client to relay", frames.ClientFrame), ("Relay to client", frames.ServerFrame)]
)
def test_the_protocol_explains_every_frame(heading: str, union: object) -> None:
    """The page has a row for each frame of each direction, with its fields in the order of the wire."""
    explained = {tag: row[1] for row in rows(heading) for tag in re.findall(r"`([a-z:]+)`", row[0])}
    kinds = {frames.tag_of(kind): kind for kind in get_args(union)}
    assert set(explained) == set(kinds)
    for tag, fields in explained.items():
        if fields != "as above":
            order = [fields.find(field) for field in kinds[tag].__struct_fields__]
            assert -1 not in order, f"{tag}: {kinds[tag].__struct_fields__} is not {fields}"
            assert order == sorted(order), f"{tag}: {fields}"


def test_the_protocol_explains_every_close_code() -> None:
    """The page has each code with its word."""
    assert {(row[0], row[1].strip("`")) for row in rows("Close codes")} == {(str(int(c)), c.label) for c in CloseCode}


def test_the_protocol_explains_every_refusal() -> None:
    """The page has each refusal."""
    explained, there = {row[0].strip("`") for row in rows("Refusals")}, set(map(str, RefusalCode))
    tree.expect_none(
        explained ^ there, "refusals that are only in docs/protocol.md or only in varde_contract/refusals.py"
    )


def test_the_protocol_gives_the_statuses_that_are_answered() -> None:
    """The numbers in the table of refusals are those that the API answers with."""
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", (tree.ROOT / "docs/protocol.md").read_text(), re.MULTILINE)
    assert rows
    wrong = [word for word, status in rows if status_of(RefusalCode(word)) != int(status)]
    tree.expect_none(wrong, "refusals with another status in docs/protocol.md than in api/problems.py")


def test_the_protocol_gives_the_thresholds_that_count() -> None:
    """The figures at which a client has to act are those of the servers."""
    page, relay = (tree.ROOT / "docs/protocol.md").read_text(encoding="utf-8"), RelaySettings()
    assert f"{KEYS_LOW} one-time keys or fewer left" in page
    assert f"{CLAIMS_PER_ACCOUNT} prekeys of one device claimed by one account in an hour" in page
    assert f"{relay.strikes} refusals for a rate, or for `malformed`" in page
    assert f"{relay.syncs} of a connection unanswered" in page
    assert f"{relay.joined:,} conversations joined on a connection" in page
    assert f"token (bin, 0-{PROBE_BYTES} bytes)" in page


def test_every_variable_of_the_environment_is_explained() -> None:
    """Whoever looks for a variable that a program reads finds it in docs/configuration.md, and no other."""
    sources = tree.sources("settings", "storage", "relay", "api", "worker", "varde", "varde_cli", "supervisor")
    read = {name for source in sources for name in re.findall(r"\bVARDE_[A-Z_]*[A-Z]\b", "\n".join(source.lines))}
    told = set(re.findall(r"`(VARDE_[A-Z_]+)`", (tree.ROOT / "docs/configuration.md").read_text(encoding="utf-8")))
    tree.expect_none(read ^ told, "variables that are read or explained, but not both")


def test_the_protocol_has_the_session_table() -> None:
    """The states of the page are those of the session, and `greeting` and `draining` say what the table says."""
    said = {row[0].strip("`"): row[1:] for row in rows("Session states")}
    assert set(said) == {state.value for state in State} - {State.CLOSED.value}
    assert not [state for state, _ in CLIENT_FRAMES if state.value == "greeting"]
    assert (said["greeting"][1], SERVER_FRAMES[State.GREETING, frames.Welcome]) == ("`welcome`", State.LIVE)
    missing = {
        frames.tag_of(kind) for kind in get_args(frames.ServerFrame) if (State.DRAINING, kind) not in SERVER_FRAMES
    }
    assert missing == set(re.findall(r"`(\w+)`", said["draining"][1]))
