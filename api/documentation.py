"""The OpenAPI document as JSON and as an HTML page, rendered once, when the application is made.

The page is from a template of ours: quart-schema's pages load scripts from other hosts.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import jinja2
from markupsafe import Markup, escape

from api.http.problems import status_of
from varde_contract.refusals import RefusalCode

_TEMPLATES: Final = Path(__file__).parent / "templates"
_CODE: Final = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Documents:
    """What `/v1/openapi.json` and `/v1/docs` answer with; `page_policy` is the page's Content-Security-Policy."""

    openapi: bytes
    page: bytes
    page_policy: str


def render_documents(document: Mapping[str, Any]) -> Documents:
    """Render the document for programs and for people."""
    style = (_TEMPLATES / "docs.css").read_text(encoding="utf-8")
    page = (
        _environment()
        .get_template("docs.html")
        .render(
            document=document,
            tags=[(tag, _operations(document, tag["name"])) for tag in document["tags"]],
            refusals=[(code, status_of(code), _operations_refusing(document, code)) for code in RefusalCode],
            style=Markup(style),  # noqa: S704 - a file of ours
        )
    )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return Documents(encode_document(document), page.encode(), _policy(digest))


def encode_document(document: Mapping[str, Any]) -> bytes:
    """Return the document as JSON to read and to compare: indented, one line feed at the end."""
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def spell_type(schema: Mapping[str, Any]) -> Markup:
    """Say in a few words what a schema allows; Structs are links."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return Markup('<a href="#{0}">{0}</a>').format(name)
    if "anyOf" in schema:
        return Markup(" or ").join(spell_type(each) for each in schema["anyOf"])
    if "enum" in schema:
        return Markup(" | ").join(Markup("<code>{}</code>").format(each) for each in schema["enum"])
    if schema.get("type") == "array":
        return Markup("list of ") + spell_type(schema["items"])
    if isinstance(schema.get("additionalProperties"), Mapping):
        return Markup("map of ") + spell_type(schema["additionalProperties"])
    return escape(_spell_plain(schema))


def _spell_plain(schema: Mapping[str, Any]) -> str:
    name = schema.get("format") or ("base64" if schema.get("contentEncoding") else schema.get("type", "anything"))
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and high is None:
        return str(name)
    if high is None or high >= 2**53:
        return f"{name}, from {low}"
    return f"{name}, {low} to {high}"


def _operations(document: Mapping[str, Any], tag: str) -> list[tuple[str, str, Mapping[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if tag in operation["tags"]
    ]


def _operations_refusing(document: Mapping[str, Any], code: RefusalCode) -> list[str]:
    """Return the operations that can answer with a refusal."""
    return [
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
        if any(f"`{code}`" in response["description"] for response in operation["responses"].values())
    ]


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "type": spell_type,
        "prose": _prose,
        "phrase": lambda status: HTTPStatus(int(status)).phrase,
    }
    return environment


def _prose(text: str) -> Markup:
    """Paragraphs, and code between backticks."""
    paragraphs = (_CODE.sub(r"<code>\1</code>", str(escape(each))) for each in text.strip().split("\n\n"))
    return Markup("\n").join(Markup(f"<p>{each}</p>") for each in paragraphs)  # noqa: S704 - escaped above


def _policy(style_digest: str) -> str:
    nothing = ("default-src", "base-uri", "form-action", "frame-ancestors")
    return "; ".join([*(f"{what} 'none'" for what in nothing), f"style-src 'sha256-{style_digest}'"])
