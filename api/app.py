"""The application: routes, error handlers and headers around the services."""

import logging
from typing import Any, Final

import trio
from quart import Blueprint, current_app, g, request
from quart_schema import tag_blueprint
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioResponse
from werkzeug.exceptions import HTTPException
from werkzeug.routing import UUIDConverter

from api.documentation import Documents, render_documents
from api.http.cors import add_cors_headers
from api.http.problems import INTERNAL, UNAVAILABLE, refusal_of_exception
from api.http.replies import respond
from api.http.requests import BoundedRequest
from api.metrics.counters import ApiMetrics
from api.operation import SERVICES
from api.resources import service, transparency
from api.resources.people import accounts, device_lists, devices, prekeys, sign_in, user_names
from api.resources.talk import cards, consent, conversations, links, messages, statements
from api.schema import document_of, open_schema
from api.services import Services
from domain.ports import StoreFault, StoreUnavailable
from observability.surprises import note_surprise
from varde_contract.exception_groups import locate
from varde_contract.ids import ID_PATTERN
from varde_contract.limits import REST_BODY_BYTES

BLUEPRINTS: Final[tuple[Blueprint, ...]] = (
    sign_in.blueprint,
    accounts.account,
    accounts.profiles,
    user_names.own,
    user_names.names,
    device_lists.own,
    device_lists.accounts,
    devices.devices,
    prekeys.blueprint,
    conversations.blueprint,
    statements.blueprint,
    consent.words,
    consent.requests,
    consent.blocks,
    cards.blueprint,
    links.links,
    messages.blueprint,
    devices.relay,
    transparency.blueprint,
    service.health,
    links.page,
    service.documentation,
)
# For browsers that are led here: nothing of an answer may be run as a script, framed, read by other sites, or kept.
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_log = logging.getLogger(__name__)
# The first application of a process renders them for all, which have the same routes. A program makes one; tests make
# hundreds, and it takes more time than everything else in most of them.
_documents: Final[list[Documents]] = []


def create_app(services: Services) -> QuartTrio:
    """Return the application that serves these services."""
    app = create_routes()
    app.extensions[SERVICES] = services
    app.config["BODY_TIMEOUT"] = services.config.timeouts.body
    # An answer is one piece, and how long a client may take for it is the connection's to say.
    app.config["RESPONSE_TIMEOUT"] = None
    app.before_request(_note_start)
    app.after_request(_note_answer)
    if services.config.origins:
        app.after_request(_allow_origins)
    return app


class _IdConverter(UUIDConverter):
    """An id in a path: spelled like in a body. Any other text is no such path."""

    regex = ID_PATTERN


def create_routes() -> QuartTrio:
    """Return the application without services: enough to describe it."""
    app = QuartTrio("api", static_folder=None)
    app.request_class = BoundedRequest
    app.config.update(MAX_CONTENT_LENGTH=REST_BODY_BYTES)
    app.url_map.converters["uuid"] = _IdConverter
    app.url_map.merge_slashes = False  # a path with two slashes is another path, not a redirect
    open_schema().init_app(app)
    for blueprint in BLUEPRINTS:
        tag_blueprint(blueprint, [blueprint.name])
        app.register_blueprint(blueprint)
    app.register_error_handler(HTTPException, _refuse_http)
    app.register_error_handler(StoreUnavailable, _refuse_unavailable)
    app.register_error_handler(StoreFault, _refuse_fault)  # `unavailable` would have clients ask again and again
    app.register_error_handler(Exception, _refuse_fault)
    app.after_request(_add_headers)
    if not _documents:
        _documents.append(render_documents(document_of(app)))
    app.extensions[service.DOCUMENTS] = _documents[0]
    return app


async def _refuse_http(error: HTTPException) -> TrioResponse:
    refused, headers = refusal_of_exception(error)
    return respond(refused, headers)


async def _refuse_unavailable(error: StoreUnavailable) -> TrioResponse:
    _metrics().store_unavailable += 1
    _log.warning("the store is unavailable: %s", locate(error))
    return respond(UNAVAILABLE)


async def _refuse_fault(error: Exception) -> TrioResponse:
    _metrics().surprises += 1
    note_surprise(_log, "a request failed", error)
    return respond(INTERNAL)


async def _allow_origins(response: Any) -> Any:
    return add_cors_headers(current_app.extensions[SERVICES].config.origins, request, response)


def _metrics() -> ApiMetrics:
    services: Services = current_app.extensions[SERVICES]
    return services.metrics


async def _note_start() -> None:
    g.started = trio.current_time()


async def _note_answer(response: Any) -> Any:
    _metrics().note_answer(request.endpoint, response.status_code, trio.current_time() - g.started)
    return response


async def _add_headers(response: Any) -> Any:
    for name, value in HEADERS.items():
        # Not over what a view has set: tiles of the log may be kept for ever.
        response.headers.setdefault(name, value)
    return response
