"""The service itself: whether it runs and can serve, and its OpenAPI document."""

from typing import Final, cast

from quart import Blueprint, current_app
from quart_schema import hide
from quart_trio.wrappers import TrioResponse

from api.documentation import Documents
from api.http.replies import Answer, Reply
from api.operation import public
from api.services import Services
from varde_contract.rest.problems import Health, Readiness

UNREADY: Final = 503
DOCUMENTS: Final = "varde_documents"
MAX_AGE: Final = "public, max-age=300"

health = Blueprint("health", __name__, url_prefix="/v1")
documentation = Blueprint("documentation", __name__, url_prefix="/v1")


@health.get("/health")
@public(answers={200: Health})
async def show_health(services: Services) -> Answer:  # noqa: ARG001 - every view is given the services
    """Say that the process runs."""
    return Health()


@health.get("/ready")
@public(answers={200: Readiness, UNREADY: Readiness})
async def show_readiness(services: Services) -> Answer:
    """Say whether the process can serve, which takes a database and the schema of this version.

    A load balancer takes it out of service while this is 503. Without the bus, nothing but time is lost.
    """
    readiness = await services.probe()
    return readiness if readiness.ready else Reply(UNREADY, readiness)


@documentation.get("/openapi.json")
@hide
async def show_openapi() -> TrioResponse:
    """Show the OpenAPI 3.1 document of this API."""
    return TrioResponse(_documents().openapi, headers={"Content-Type": "application/json", "Cache-Control": MAX_AGE})


@documentation.get("/docs")
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
