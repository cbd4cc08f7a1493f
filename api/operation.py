"""One operation of the API: what it takes, what it answers, which refusals it knows; and a request's way through it.

A view is written as a plain function of the services, of who asks, of what was sent, and of the ids in the path:

    @blueprint.put("/<uuid:profile>")
    @Operation(answers={200: ProfileView}, refuses=(RefusalCode.NOT_FOUND,)).with_body(ProfileUpdate).signed_in
    async def replace_profile(services: Services, actor: Actor, update: ProfileUpdate, profile: UUID) -> Answer: ...

Mypy holds the view to its declaration. A request is refused as early, and so as cheaply, as can be: rate limit, token,
query, body. Work that has begun is finished whether or not the client waits for it, so that nothing is stored without
being announced.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Concatenate, Final, Generic, ParamSpec, TypeAlias, TypeVar, cast

import trio
from msgspec import Struct
from quart import current_app, request
from quart_schema import document_querystring, document_request, document_response, security_scheme
from quart_trio.wrappers import TrioResponse

from api.http.problems import UNAVAILABLE
from api.http.replies import Answer, respond
from api.http.requests import BodyReader, QueryReader, read_token
from api.services import Services
from domain.people.model import Actor
from varde_contract.client_address import client_address, network_of
from varde_contract.refusals import RefusalCode, Refused

BEARER: Final = "bearer"
SERVICES: Final = "varde"
DECLARED: Final = "varde_operation"

Path = ParamSpec("Path")
Input = TypeVar("Input", bound=Struct)
Handler: TypeAlias = Callable[Path, Awaitable[TrioResponse]]
"""What Quart calls, with the parameters of the path by name."""

_ALWAYS: Final = frozenset({RefusalCode.UNAVAILABLE, RefusalCode.INTERNAL})
_SIGNED_IN: Final = frozenset({RefusalCode.UNAUTHENTICATED, RefusalCode.TOKEN_EXPIRED})
_BODY: Final = frozenset(
    {RefusalCode.MALFORMED, RefusalCode.TOO_LARGE, RefusalCode.TOO_SLOW, RefusalCode.UNSUPPORTED_MEDIA_TYPE}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a request is held to, and what the OpenAPI document says. `refuses` are the domain's own refusals.

    `limits_sign_in` counts a request against its network address, `invites` against the account that asks.
    """

    answers: dict[int, type[Struct] | None]
    refuses: tuple[RefusalCode, ...] = ()
    limits_sign_in: bool = False
    invites: bool = False
    body: type[Struct] | None = None
    query: type[Struct] | None = None
    needs_token: bool = True

    def all_refusals(self) -> tuple[RefusalCode, ...]:
        """Every refusal this operation can answer with, in the order of the list."""
        mine = {*self.refuses, *_ALWAYS}
        mine.update(_SIGNED_IN if self.needs_token else ())
        mine.update(_BODY if self.body else ())
        mine.update([RefusalCode.MALFORMED] if self.query else ())
        mine.update([RefusalCode.RATE_LIMITED] if self.limits_sign_in or self.invites else ())
        return tuple(code for code in RefusalCode if code in mine)

    def with_body(self, kind: type[Input]) -> "OperationWithInput[Input]":
        """Take a JSON body of this kind as well."""
        reader = BodyReader(kind)
        return OperationWithInput(replace(self, body=kind), lambda: reader.read_request(request))

    def with_query(self, kind: type[Input]) -> "OperationWithInput[Input]":
        """Take a query string of this kind as well."""
        reader = QueryReader(kind)
        return OperationWithInput(replace(self, query=kind), lambda: reader.read_request(request))

    def signed_in(self, view: Callable[Concatenate[Services, Actor, Path], Awaitable[Answer]]) -> Handler[Path]:
        """Make the handler of a view that only somebody with an access token may call."""

        @wraps(view)
        async def call(services: Services, /, *args: Path.args, **path: Path.kwargs) -> Answer:
            actor = await _authenticate(self, services)
            if isinstance(actor, Refused):
                return actor
            return await _finish(services, view(services, actor, *args, **path))

        return _handler(self, call)

    def public(self, view: Callable[Concatenate[Services, Path], Awaitable[Answer]]) -> Handler[Path]:
        """Make the handler of a view that anybody may call."""

        @wraps(view)
        async def call(services: Services, /, *args: Path.args, **path: Path.kwargs) -> Answer:
            return await _finish(services, view(services, *args, **path))

        return _handler(replace(self, needs_token=False), call)


@dataclass(frozen=True, slots=True)
class OperationWithInput(Generic[Input]):
    """An operation that takes a body or a query. `read` reads it from the request under way."""

    operation: Operation
    read: Callable[[], Awaitable[Input | Refused]]

    def signed_in(self, view: Callable[Concatenate[Services, Actor, Input, Path], Awaitable[Answer]]) -> Handler[Path]:
        """Make the handler of a view that only somebody with an access token may call."""

        @wraps(view)
        async def call(services: Services, /, *args: Path.args, **path: Path.kwargs) -> Answer:
            actor = await _authenticate(self.operation, services)
            if isinstance(actor, Refused):
                return actor
            given = await self.read()
            if isinstance(given, Refused):
                return given
            return await _finish(services, view(services, actor, given, *args, **path))

        return _handler(self.operation, call)

    def public(self, view: Callable[Concatenate[Services, Input, Path], Awaitable[Answer]]) -> Handler[Path]:
        """Make the handler of a view that anybody may call."""

        @wraps(view)
        async def call(services: Services, /, *args: Path.args, **path: Path.kwargs) -> Answer:
            given = await self.read()
            if isinstance(given, Refused):
                return given
            return await _finish(services, view(services, given, *args, **path))

        return _handler(replace(self.operation, needs_token=False), call)


def _handler(declared: Operation, call: Callable[Concatenate[Services, Path], Awaitable[Answer]]) -> Handler[Path]:
    @wraps(call)
    async def handle(*args: Path.args, **path: Path.kwargs) -> TrioResponse:
        services = cast("Services", current_app.extensions[SERVICES])
        timeouts = services.config.timeouts
        with trio.move_on_after(timeouts.body + timeouts.work):
            if declared.limits_sign_in and (refused := services.sign_in_limit.spend(_network(services))):
                return respond(refused)
            return respond(await call(services, *args, **path))
        return respond(UNAVAILABLE)

    setattr(handle, DECLARED, declared)
    _document(declared, handle)
    return handle


async def _authenticate(declared: Operation, services: Services) -> Actor | Refused:
    token = read_token(request.headers.getlist("Authorization"))
    if isinstance(token, Refused):
        return token
    actor = await services.sessions.authenticate(token)
    if declared.invites and not isinstance(actor, Refused):
        return services.invitation_limit.spend(actor.account) or actor
    return actor


async def _finish(services: Services, work: Awaitable[Answer]) -> Answer:
    """Let a view end, within a time of its own: a client that has gone must not leave a change without its event."""
    with trio.move_on_after(services.config.timeouts.work, shield=True):
        return await work
    return UNAVAILABLE


def _network(services: Services) -> str:
    peer = (request.scope.get("client") or ("",))[0]
    forwarded = ",".join(request.headers.getlist("X-Forwarded-For"))
    return network_of(client_address(peer, forwarded, services.config.proxies))


def _document(declared: Operation, handle: Handler[Path]) -> None:
    """Tell quart-schema, which marks the function, what goes into the OpenAPI document; `api.schema` adds refusals."""
    for status, model in declared.answers.items():
        if model is not None:
            document_response(model, status)(handle)
    if declared.body is not None:
        document_request(declared.body)(handle)
    if declared.query is not None:
        document_querystring(declared.query)(handle)
    if declared.needs_token:
        security_scheme([{BEARER: []}])(handle)
