"""The OpenAPI document, for programs and for people."""

from typing import Final, cast

from quart import Blueprint, current_app
from quart_schema import hide
from quart_trio.wrappers import TrioResponse

from api.page import Documents

DOCUMENTS: Final = "varde_documents"
MAX_AGE: Final = "public, max-age=300"

blueprint = Blueprint("documentation", __name__, url_prefix="/v1")


@blueprint.get("/openapi.json")
@hide
async def show_openapi() -> TrioResponse:
    """Show the OpenAPI 3.1 document of this API."""
    return TrioResponse(_documents().openapi, headers={"Content-Type": "application/json", "Cache-Control": MAX_AGE})


@blueprint.get("/docs")
@hide
async def show_documentation() -> TrioResponse:
    """Show the same as a page to read."""
    documents = _documents()
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": MAX_AGE,
        "Content-Security-Policy": documents.page_policy,
    }
    return TrioResponse(documents.page, headers=headers)


def _documents() -> Documents:
    return cast("Documents", current_app.extensions[DOCUMENTS])
