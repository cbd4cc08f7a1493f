"""Answers as HTTP responses: Structs as JSON, refusals as problem details, times as RFC 3339."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct
from quart_trio.wrappers import TrioResponse

from api.http.problems import body_of, headers_of, status_of
from varde_contract.refusals import Refused

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_encoder: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with another status than 200."""

    status: int
    body: Struct


@dataclass(frozen=True, slots=True)
class Content:
    """An answer that is no JSON, and for how long a cache may keep it."""

    body: bytes
    media_type: str
    cache: str


Answer: TypeAlias = Struct | Reply | Content | Refused | None
"""What an operation returns. A Struct is answered with 200, None with 204."""


def created(body: Struct, *, fresh: bool = True) -> Reply:
    """Answer 201 with what was made or, when it had been there already, 200 with the same."""
    return Reply(HTTPStatus.CREATED if fresh else HTTPStatus.OK, body)


def instant(milliseconds: int) -> datetime:
    """Return the UTC datetime of milliseconds since the Unix epoch, exactly: the domain counts, REST has datetimes."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def milliseconds(moment: datetime) -> int:
    """Return milliseconds since the Unix epoch, cut off: the other way."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def respond(answer: Answer, headers: dict[str, str] | None = None) -> TrioResponse:
    """Return the response."""
    match answer:
        case None:
            return _empty()
        case Refused():
            return _response(body_of(answer), status_of(answer.code), {**headers_of(answer), **(headers or {})})
        case Reply(status=status, body=body):
            return _json(body, status)
        case Content():
            return _response(
                answer.body, HTTPStatus.OK, {"Content-Type": answer.media_type, "Cache-Control": answer.cache}
            )
        case _:
            return _json(answer, HTTPStatus.OK)


def _json(body: Struct, status: int) -> TrioResponse:
    return _response(_encoder.encode(body), status, {"Content-Type": "application/json"})


def _response(body: bytes, status: int, headers: dict[str, str]) -> TrioResponse:
    return TrioResponse(body, status=status, headers=headers)


def _empty() -> TrioResponse:
    response = TrioResponse(b"", status=HTTPStatus.NO_CONTENT)
    # RFC 9110 section 8.6: an answer without content says neither its type nor its length.
    del response.headers["Content-Type"], response.headers["Content-Length"]
    return response
