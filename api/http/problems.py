"""Refusals as problem details (RFC 9457): the one map from the list of refusals to HTTP."""

from http import HTTPStatus
from typing import Final, assert_never

import msgspec
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.problems import PROBLEM_MEDIA_TYPE, Problem

SECOND: Final = 1_000
RETRY: Final = 1 * SECOND

INTERNAL: Final = Refused(RefusalCode.INTERNAL, "The server made a mistake, and has noted where. Try again later.")
UNAVAILABLE: Final = Refused(
    RefusalCode.UNAVAILABLE, "The server cannot reach what it needs. Try again in a moment.", retry_after_ms=RETRY
)
TOO_MANY_CONNECTIONS: Final = Refused(
    RefusalCode.OVERLOADED, "The server has as many connections as it can. Try again in a moment.", retry_after_ms=RETRY
)
TOO_SLOW: Final = Refused(RefusalCode.TOO_SLOW, "The request did not arrive in time.")
_NO_PATH: Final = Refused(RefusalCode.NOT_FOUND, "There is nothing at this path.")
_NO_METHOD: Final = Refused(RefusalCode.METHOD_NOT_ALLOWED, "This path does not take that method. See Allow.")
_TOO_LARGE: Final = Refused(RefusalCode.TOO_LARGE, "The request is larger than this server takes.")
WRONG_MEDIA_TYPE: Final = Refused(
    RefusalCode.UNSUPPORTED_MEDIA_TYPE, "Send the body as application/json, not compressed."
)
_MALFORMED: Final = Refused(RefusalCode.MALFORMED, "The request is not well-formed HTTP.")

_encoder: Final = msgspec.json.Encoder()


def status_of(code: RefusalCode) -> HTTPStatus:  # noqa: C901, PLR0912 - one row for each status, checked to be complete
    """Return the HTTP status of a refusal."""
    match code:
        case RefusalCode.MALFORMED | RefusalCode.OUT_OF_RANGE | RefusalCode.VERSION_UNSUPPORTED:
            return HTTPStatus.BAD_REQUEST
        case RefusalCode.UNAUTHENTICATED | RefusalCode.TOKEN_EXPIRED:
            return HTTPStatus.UNAUTHORIZED
        case (
            # Not 401, which has to name a way to authenticate (RFC 9110 section 15.5.2).
            RefusalCode.CODE_WRONG
            | RefusalCode.CODE_EXPIRED
            | RefusalCode.CODE_EXHAUSTED
            | RefusalCode.NOT_ALLOWED
            | RefusalCode.PROFILE_NOT_ALLOWED
            | RefusalCode.TICKET_INVALID
            | RefusalCode.TICKET_EXPIRED
            | RefusalCode.TICKET_REVOKED
        ):
            return HTTPStatus.FORBIDDEN
        case RefusalCode.NOT_FOUND:
            return HTTPStatus.NOT_FOUND
        case RefusalCode.METHOD_NOT_ALLOWED:
            return HTTPStatus.METHOD_NOT_ALLOWED
        case RefusalCode.TOO_SLOW:
            return HTTPStatus.REQUEST_TIMEOUT
        case (
            RefusalCode.NO_DEVICE
            | RefusalCode.STALE_DEVICE_LIST
            | RefusalCode.SESSION_HAS_DEVICE
            | RefusalCode.DEVICE_EXISTS
            | RefusalCode.WRONG_KIND
            | RefusalCode.ALREADY_MEMBER
            | RefusalCode.LAST_OWNER
            | RefusalCode.NAME_TAKEN
            | RefusalCode.TOO_MANY
            | RefusalCode.STALE_DEVICES
            | RefusalCode.STALE_CHAIN
            | RefusalCode.STALE_CARD
            | RefusalCode.NOT_JOINED
        ):
            return HTTPStatus.CONFLICT
        case RefusalCode.TOO_LARGE:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        case RefusalCode.UNSUPPORTED_MEDIA_TYPE:
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        case RefusalCode.BAD_KEY | RefusalCode.BAD_SIGNATURE | RefusalCode.BAD_DEVICE_LIST | RefusalCode.BAD_CARD:
            return HTTPStatus.UNPROCESSABLE_ENTITY
        case RefusalCode.CLAIM_LIMIT | RefusalCode.RATE_LIMITED:
            return HTTPStatus.TOO_MANY_REQUESTS
        case RefusalCode.INTERNAL:
            return HTTPStatus.INTERNAL_SERVER_ERROR
        case RefusalCode.UNAVAILABLE | RefusalCode.OVERLOADED:
            return HTTPStatus.SERVICE_UNAVAILABLE
        case _:
            assert_never(code)


def problem_of(refused: Refused, status: int | None = None) -> Problem:
    """Return the body of the answer, with another status where HTTP has a more exact one."""
    return Problem(
        type=f"/v1/docs#{refused.code}",
        title=refused.code.replace("-", " ").capitalize(),
        status=status or status_of(refused.code),
        code=refused.code,
        detail=refused.detail,
        retry_after_ms=refused.retry_after_ms,
        stale=refused.stale,
    )


def body_of(refused: Refused, status: int | None = None) -> bytes:
    """Return the body of the answer, encoded."""
    return _encoder.encode(problem_of(refused, status))


def headers_of(refused: Refused) -> dict[str, str]:
    """Return what the headers say beside the body."""
    headers = {"Content-Type": PROBLEM_MEDIA_TYPE, "Cache-Control": "no-store"}
    if refused.retry_after_ms is not None:
        headers["Retry-After"] = str(-(-refused.retry_after_ms // SECOND))
    if refused.code is RefusalCode.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = 'Bearer realm="varde"'
    if refused.code is RefusalCode.TOKEN_EXPIRED:
        headers["WWW-Authenticate"] = 'Bearer realm="varde", error="invalid_token"'
    return headers


def refusal_of_status(status: int) -> Refused:
    """Return what the HTTP layers below mean by a status of theirs."""
    match status:
        case HTTPStatus.NOT_FOUND:
            return _NO_PATH
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return _NO_METHOD
        case HTTPStatus.REQUEST_TIMEOUT:
            return TOO_SLOW
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE | HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
            return _TOO_LARGE
        case HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
            return WRONG_MEDIA_TYPE
        case HTTPStatus.NOT_IMPLEMENTED:
            return _MALFORMED  # a transfer coding that nobody uses
        case _:
            return _MALFORMED if status < HTTPStatus.INTERNAL_SERVER_ERROR else INTERNAL


def refusal_of_exception(error: HTTPException) -> tuple[Refused, dict[str, str]]:
    """Return what the framework means by an exception of its own, and the headers that go with it."""
    refused = refusal_of_status(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    methods = error.valid_methods if isinstance(error, MethodNotAllowed) else None
    return refused, {"Allow": ", ".join(sorted(methods))} if methods else {}
