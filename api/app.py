"""The application: routes, error handlers and headers around one world."""

import logging
from typing import Any, Final

from quart import Blueprint
from quart_schema import tag_blueprint
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioResponse
from werkzeug.exceptions import HTTPException

from api.operation import WORLD
from api.page import render_documents
from api.problems import INTERNAL, UNAVAILABLE, refusal_of_exception
from api.replies import respond
from api.requests import BoundedRequest
from api.resources.people import account, auth, devices, prekeys, profiles, relay
from api.resources.service import documentation, health
from api.resources.talk import conversations, members, messages
from api.schema import document_of, open_schema
from api.world import World
from domain.ports import StoreUnavailable
from varde_contract.exception_groups import locate
from varde_contract.limits import REST_BODY_BYTES

BLUEPRINTS: Final[tuple[Blueprint, ...]] = (
    auth.blueprint,
    account.blueprint,
    profiles.blueprint,
    devices.blueprint,
    prekeys.blueprint,
    conversations.blueprint,
    members.blueprint,
    messages.blueprint,
    relay.blueprint,
    health.blueprint,
    documentation.blueprint,
)
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_log = logging.getLogger(__name__)


def create_app(world: World) -> QuartTrio:
    """Return the application that serves this world."""
    app = create_routes()
    app.extensions[WORLD] = world
    app.config["BODY_TIMEOUT"] = world.config.patience.body
    # An answer is one piece, and how long a client may take for it is the connection's to say.
    app.config["RESPONSE_TIMEOUT"] = None
    return app


def create_routes() -> QuartTrio:
    """Return the application without a world: enough to describe it."""
    app = QuartTrio("api", static_folder=None)
    app.request_class = BoundedRequest
    app.config.update(MAX_CONTENT_LENGTH=REST_BODY_BYTES, PROPAGATE_EXCEPTIONS=False)
    app.url_map.merge_slashes = False  # a path with two slashes is another path, not a redirect
    open_schema().init_app(app)
    for blueprint in BLUEPRINTS:
        tag_blueprint(blueprint, [blueprint.name])
        app.register_blueprint(blueprint)
    app.register_error_handler(HTTPException, _refuse_http)
    app.register_error_handler(StoreUnavailable, _refuse_unavailable)
    app.register_error_handler(Exception, _refuse_fault)
    app.after_request(_add_headers)
    app.extensions[documentation.DOCUMENTS] = render_documents(document_of(app))
    return app


async def _refuse_http(error: HTTPException) -> TrioResponse:
    refused, headers = refusal_of_exception(error)
    return respond(refused, headers)


async def _refuse_unavailable(error: StoreUnavailable) -> TrioResponse:
    _log.warning("the store is unavailable: %s", locate(error))
    return respond(UNAVAILABLE)


async def _refuse_fault(error: Exception) -> TrioResponse:
    _log.error("a request failed: %s", locate(error))
    return respond(INTERNAL)


async def _add_headers(response: Any) -> Any:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response
