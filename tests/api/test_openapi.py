"""The OpenAPI document and its page: complete, the same each time, and readable without a network."""

import hashlib
import json
import re
import subprocess
import sys
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from api.app import create_routes
from api.http.problems import status_of
from api.openapi import FILE, openapi_document
from api.resources.service import DOCUMENTS
from tests.api.memory_api import MemoryApi
from varde_contract.refusals import RefusalCode

document: dict[str, Any] = json.loads(openapi_document())
operations = {
    operation["operationId"]: (method, path, operation)
    for path, methods in document["paths"].items()
    for method, operation in methods.items()
}
OPEN = {
    *("send_code", "sign_in", "refresh_session", "show_relay", "show_health", "show_readiness"),
    # Whoever checks the log is nobody's customer.
    *("show_log_key", "show_checkpoint", "show_cosigned_checkpoint", "show_tile", "show_entries", "prove_consistency"),
}
every_operation = pytest.mark.parametrize("name", operations)


def references(node: Any) -> set[str]:
    """Every `$ref` below a node."""
    if isinstance(node, dict):
        below = set().union(*(references(value) for value in node.values())) if node else set()
        return below | ({node["$ref"]} if "$ref" in node else set())
    return set().union(*map(references, node)) if isinstance(node, list) and node else set()


def test_the_committed_file_is_up_to_date() -> None:
    """Whoever reads docs/openapi.json reads what the server does."""
    assert FILE.read_bytes() == openapi_document()


def test_the_document_is_the_same_bytes_in_another_process() -> None:
    """Neither hash seeds nor the order of imports are in it."""
    check = (sys.executable, "-m", "api.openapi", "--check")
    for seed in ("1", "2"):
        done = subprocess.run(check, env={"PYTHONHASHSEED": seed}, cwd=Path.cwd(), check=False, capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")


def test_nothing_is_referred_to_that_is_not_there() -> None:
    """Every Struct that is mentioned is described."""
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= known


def test_every_route_is_described() -> None:
    """A route that is forgotten here would be forgotten by every client."""
    app = create_routes()
    served = {
        re.sub(r"<\w+:(\w+)>", r"{\1}", rule.rule)
        for rule in app.url_map.iter_rules()
        if not rule.endpoint.startswith(("documentation", "page"))  # those are for people
    }
    assert set(document["paths"]) == served


@every_operation
def test_every_operation_says_what_it_is(name: str) -> None:
    """A summary, a tag that is explained, and names by which a client can be generated."""
    _, path, operation = operations[name]
    assert operation["summary"].endswith(".")
    assert set(operation["tags"]) <= {tag["name"] for tag in document["tags"]}
    placeholders = {part[1:-1] for part in path.split("/") if part.startswith("{")}
    assert placeholders == {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}


@every_operation
def test_every_operation_lists_its_refusals_under_their_status(name: str) -> None:
    """Each refusal is where its status is, as problem details."""
    _, _, operation = operations[name]
    for status, response in operation["responses"].items():
        problem = response.get("content", {}).get("application/problem+json")
        for code in problem["schema"]["allOf"][1]["properties"]["code"]["enum"] if problem else []:
            assert status_of(RefusalCode(code)) == int(status)


@every_operation
def test_only_what_is_open_asks_for_no_token(name: str) -> None:
    """A new operation does not come without a lock by oversight."""
    is_open = "security" not in operations[name][2]
    assert is_open == (name in OPEN)


async def test_the_document_is_served(api: MemoryApi) -> None:
    """Programs find it without a token, and may keep it for a while."""
    response = await api.ask("GET", "/v1/openapi.json")
    assert response.content == openapi_document()
    assert response.headers["content-type"] == "application/json"
    assert "max-age" in response.headers["cache-control"]


class _Page(HTMLParser):
    """Collects what a page loads, links to and names."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: set[str] = set()
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in {"href", "src"}:
                self.links.add(value or "")
            if name == "id":
                self.ids.append(value or "")


async def test_the_page_needs_nothing_from_elsewhere(api: MemoryApi) -> None:
    """No script, no picture, no address outside: it reads the same on a machine without a network."""
    response = await api.ask("GET", "/v1/docs")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    page = _Page()
    page.feed(response.text)
    assert not page.tags & {"script", "img", "iframe", "link", "form", "object"}
    assert {link for link in page.links if not link.startswith("#")} == {"openapi.json"}
    assert "http://" not in response.text
    assert "https://" not in response.text


async def test_the_policy_of_the_page_allows_its_own_style_only(api: MemoryApi) -> None:
    """A browser would refuse anything that got into the page, even a style."""
    response = await api.ask("GET", "/v1/docs")
    style = response.text.partition("<style>")[2].partition("</style>")[0]
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = response.headers["content-security-policy"]
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert " style=" not in response.text


def test_every_link_of_the_page_leads_somewhere() -> None:
    """Operations, bodies and refusals are found by their names, and no name is given twice."""
    page = _Page()
    page.feed(create_routes().extensions[DOCUMENTS].page.decode())
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert set(operations) | set(document["components"]["schemas"]) | set(RefusalCode) <= set(page.ids)
