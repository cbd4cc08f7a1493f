"""The HTTP face of the relay: the upgrade, and whether the node is alive and ready. Everything else is a
clean error.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from websockets.http11 import Request, Response

from relay.metrics.labels import HandshakeOutcome
from relay.socket.plain_http import http_answer
from relay.socket.upgrade_request import RELAY, Upgrade
from relay.socket.websocket import WebSocket
from varde_contract.refusals import RefusalCode, Refused

HEALTH: Final = "/v1/health"
READY: Final = "/v1/ready"


def answer(
    websocket: WebSocket, request: Request | Upgrade, knock: Callable[[str], Refused | None], *, ready: bool
) -> HandshakeOutcome | None:
    """Answer a request. None when it became a WebSocket, otherwise what became of it.

    `knock` asks admission, with what load balancers say.
    """
    if isinstance(request, Upgrade):
        return _upgrade(websocket, request, knock(request.forwarded))
    path = request.path.partition("?")[0]
    if request.method == "GET" and path == RELAY:
        if len(request.headers.get_all("Host")) != 1:  # RFC 6455 section 4.2.1: the library does not look
            websocket.respond(http_answer(HTTPStatus.BAD_REQUEST, "A request names its host, and once.\n"))
            return HandshakeOutcome.PLAIN_HTTP
        return _upgrade(websocket, request, knock(",".join(request.headers.get_all("X-Forwarded-For"))))
    websocket.respond(_plain(request.method, path, ready=ready))
    return HandshakeOutcome.PLAIN_HTTP


def _upgrade(websocket: WebSocket, request: Request | Upgrade, refused: Refused | None) -> HandshakeOutcome | None:
    if refused is None:
        return None if websocket.accept(request) else HandshakeOutcome.PLAIN_HTTP
    seconds = -(-(refused.retry_after_ms or 1_000) // 1_000)
    websocket.respond(http_answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{refused.detail}\n", {"Retry-After": str(seconds)}))
    return HandshakeOutcome.OVERLOADED if refused.code is RefusalCode.OVERLOADED else HandshakeOutcome.RATE_LIMITED


def _plain(method: str, path: str, *, ready: bool) -> Response:
    if path not in (RELAY, HEALTH, READY):
        return http_answer(HTTPStatus.NOT_FOUND, "There is no such resource here.\n")
    if method != "GET":
        return http_answer(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET is answered here.\n", {"Allow": "GET"})
    if path == READY and not ready:
        return http_answer(HTTPStatus.SERVICE_UNAVAILABLE, "not ready\n")
    return http_answer(HTTPStatus.OK, "ready\n" if path == READY else "alive\n")
