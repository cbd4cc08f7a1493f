"""One operation of the API: what it takes, what it answers, which refusals it knows; and a request's way through it.

Work that has begun is finished whether or not the client waits for it, so that nothing is stored without being
announced.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, TypeAlias, TypeVar, cast

import trio
from msgspec import Struct
from quart import current_app, request
from quart_schema import document_querystring, document_request, document_response, security_scheme
from quart_trio.wrappers import TrioResponse

from api.authentication import authenticate
from api.bodies import JSON, BodyReader, QueryReader
from api.problems import UNAVAILABLE
from api.replies import Answer, respond
from api.world import World
from domain.people.model import Actor
from varde_contract.networks import client_address
from varde_contract.refusals import RefusalCode, Refused

BEARER: Final = "bearer"
WORLD: Final = "varde"
DECLARED: Final = "varde_operation"

View: TypeAlias = Callable[..., Awaitable[Answer]]
Handler: TypeAlias = Callable[..., Awaitable[TrioResponse]]
B = TypeVar("B", bound=Struct)

_NO_MEDIA: Final = Refused(RefusalCode.UNSUPPORTED_MEDIA_TYPE, "Send the body as application/json, not compressed.")
_ALWAYS: Final = frozenset({RefusalCode.UNAVAILABLE, RefusalCode.INTERNAL})
_SIGNED_IN: Final = frozenset({RefusalCode.UNAUTHENTICATED, RefusalCode.TOKEN_EXPIRED})
_BODY: Final = frozenset(
    {RefusalCode.MALFORMED, RefusalCode.TOO_LARGE, RefusalCode.TOO_SLOW, RefusalCode.UNSUPPORTED_MEDIA_TYPE}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a request is held to, and what the OpenAPI document says. `refuses` are the domain's own refusals.

    `open_to_all` asks for no token; `rationed` counts against the network address; `invites` against the account.
    """

    answers: dict[int, type[Struct] | None]
    refuses: tuple[RefusalCode, ...] = ()
    body: BodyReader[Any] | None = None
    query: QueryReader[Any] | None = None
    open_to_all: bool = False
    rationed: bool = False
    invites: bool = False

    def all_refusals(self) -> tuple[RefusalCode, ...]:
        """Every refusal this operation can answer with, in the order of the list."""
        mine = {*self.refuses, *_ALWAYS}
        mine.update(() if self.open_to_all else _SIGNED_IN)
        mine.update(_BODY if self.body else ())
        mine.update([RefusalCode.MALFORMED] if self.query else ())
        mine.update([RefusalCode.RATE_LIMITED] if self.rationed or self.invites else ())
        return tuple(code for code in RefusalCode if code in mine)


def operation(
    *,
    answers: dict[int, type[Struct] | None],
    refuses: tuple[RefusalCode, ...] = (),
    body: type[Struct] | None = None,
    query: type[Struct] | None = None,
    open_to_all: bool = False,
    rationed: bool = False,
    invites: bool = False,
) -> Callable[[View], Handler]:
    """Make a handler of a view, which is called with `(world, actor, query, body, **path)` as far as declared."""
    declared = Operation(
        answers=answers,
        refuses=refuses,
        body=BodyReader(body) if body else None,
        query=QueryReader(query) if query else None,
        open_to_all=open_to_all,
        rationed=rationed,
        invites=invites,
    )

    def decorate(view: View) -> Handler:
        @wraps(view)
        async def handle(**path: Any) -> TrioResponse:
            return respond(await _answer(declared, view, path))

        setattr(handle, DECLARED, declared)
        return _documented(declared, handle)

    return decorate


async def _answer(declared: Operation, view: View, path: dict[str, Any]) -> Answer:
    world = cast("World", current_app.extensions[WORLD])
    patience = world.config.patience
    with trio.move_on_after(patience.body + patience.work):
        parts = await _gather(declared, world)
        if isinstance(parts, Refused):
            return parts
        with trio.move_on_after(patience.work, shield=True):
            return await view(world, *parts, **path)
    return UNAVAILABLE


async def _gather(declared: Operation, world: World) -> list[Any] | Refused:
    """Collect what the view takes, and refuse as early, and so as cheaply, as can be."""
    if declared.rationed and (refused := world.allowance.spend(_client_address(world))) is not None:
        return refused
    parts: list[Any] = []
    for step in _steps(declared, world):
        part = await step()
        if isinstance(part, Refused):
            return part
        parts.append(part)
    return parts


def _steps(declared: Operation, world: World) -> list[Callable[[], Awaitable[Any]]]:
    steps: list[Callable[[], Awaitable[Any]]] = []
    if not declared.open_to_all:
        steps.append(lambda: _authenticate(declared, world))
    if (query := declared.query) is not None:
        steps.append(lambda: _read_query(query))
    if (body := declared.body) is not None:
        steps.append(lambda: _read_body(body))
    return steps


async def _authenticate(declared: Operation, world: World) -> Actor | Refused:
    actor = await authenticate(world.sessions, request.headers.getlist("Authorization"))
    if declared.invites and not isinstance(actor, Refused):
        return world.invitations.spend(actor.account) or actor
    return actor


async def _read_query(reader: QueryReader[B]) -> B | Refused:
    return reader.read(request.args.to_dict(flat=False))


async def _read_body(reader: BodyReader[B]) -> B | Refused:
    if request.mimetype != JSON or request.headers.get("Content-Encoding", "identity").lower() != "identity":
        return _NO_MEDIA
    return reader.read(await request.get_data(cache=False, as_text=False, parse_form_data=False))


def _client_address(world: World) -> str:
    peer = (request.scope.get("client") or ("",))[0]
    return client_address(peer, ",".join(request.headers.getlist("X-Forwarded-For")), world.config.proxies)


def _documented(declared: Operation, handle: Handler) -> Handler:
    """Say to quart-schema what it puts into the OpenAPI document; `api.openapi` adds the refusals."""
    for status, model in declared.answers.items():
        if model is not None:
            handle = document_response(model, status)(handle)
    if declared.body is not None:
        handle = document_request(declared.body.kind)(handle)
    if declared.query is not None:
        handle = document_querystring(declared.query.kind)(handle)
    return handle if declared.open_to_all else security_scheme([{BEARER: []}])(handle)
