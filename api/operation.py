"""One operation of the API: what it takes, what it answers, which refusals it knows; and a request's way through it.

A view is written as a plain function of the services, of who asks, of what was sent, and of the ids in the path:

    @profiles.put("/<uuid:profile>")
    @signed_in_with_body(ProfileUpdate, answers={200: ProfileView}, refuses=(RefusalCode.NOT_FOUND,))
    async def replace_profile(services: Services, actor: Actor, update: ProfileUpdate, profile: UUID) -> Answer: ...

Mypy holds the view to its declaration. A request is refused as early, and so as cheaply, as can be: rate limit, token,
query, body. Work that has begun is finished whether or not the client waits for it, so that nothing is stored without
being announced.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, Final, ParamSpec, Required, TypeAlias, TypedDict, TypeVar, Unpack, cast

import trio
from msgspec import Struct
from quart import current_app, request
from quart_schema import document_querystring, document_request, document_response, security_scheme
from quart_trio.wrappers import TrioResponse

from api.http.problems import UNAVAILABLE
from api.http.replies import Answer, respond
from api.http.requests import BodyReader, QueryReader, read_token
from api.services import Services
from domain.budgets import Budget
from domain.people.model import Actor
from observability.tracing import span
from varde_contract.client_address import client_address, network_of
from varde_contract.refusals import RefusalCode, Refused

BEARER: Final = "bearer"
SERVICES: Final = "varde"
DECLARED: Final = "varde_operation"

Path = ParamSpec("Path")
Input = TypeVar("Input", bound=Struct)
Handler: TypeAlias = Callable[Path, Awaitable[TrioResponse]]
"""What Quart calls, with the parameters of the path by name."""
PublicView: TypeAlias = Callable[Concatenate[Services, Path], Awaitable[Answer]]
PublicInputView: TypeAlias = Callable[Concatenate[Services, Input, Path], Awaitable[Answer]]
View: TypeAlias = Callable[Concatenate[Services, Actor, Path], Awaitable[Answer]]
InputView: TypeAlias = Callable[Concatenate[Services, Actor, Input, Path], Awaitable[Answer]]

_ALWAYS: Final = frozenset({RefusalCode.UNAVAILABLE, RefusalCode.INTERNAL})
_SIGNED_IN: Final = frozenset({RefusalCode.UNAUTHENTICATED, RefusalCode.TOKEN_EXPIRED})
_BODY: Final = frozenset(
    {RefusalCode.MALFORMED, RefusalCode.TOO_LARGE, RefusalCode.TOO_SLOW, RefusalCode.UNSUPPORTED_MEDIA_TYPE}
)


class Declaration(TypedDict, total=False):
    """What a decorator is told. `refuses` are the domain's own refusals; those of HTTP and of the token are known.

    `limits_sign_in` counts a request against its network address; `limits_look_ups` too, in a count of its own.
    `spends` names what a request takes from the budgets of the account that asks, beside the request itself; what
    depends on the body is spent by the view.
    """

    answers: Required[dict[int, type[Struct] | None]]
    refuses: tuple[RefusalCode, ...]
    limits_sign_in: bool
    limits_look_ups: bool
    spends: tuple[Budget, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a request is held to, and what the OpenAPI document says."""

    answers: dict[int, type[Struct] | None]
    refuses: tuple[RefusalCode, ...] = ()
    limits_sign_in: bool = False
    limits_look_ups: bool = False
    spends: tuple[Budget, ...] = ()
    body: type[Struct] | None = None
    query: type[Struct] | None = None
    needs_token: bool = True

    def all_refusals(self) -> tuple[RefusalCode, ...]:
        """Every refusal this operation can answer with, in the order of the list."""
        mine = {*self.refuses, *_ALWAYS}
        mine.update(_SIGNED_IN if self.needs_token else ())
        mine.update(_BODY if self.body else ())
        mine.update([RefusalCode.MALFORMED] if self.query else ())
        mine.update([RefusalCode.RATE_LIMITED] if self.limits_sign_in or self.needs_token else ())
        return tuple(code for code in RefusalCode if code in mine)


def public(**declaration: Unpack[Declaration]) -> Callable[[PublicView[Path]], Handler[Path]]:
    """Make the handler of a view that anybody may call."""
    operation = Operation(**declaration, needs_token=False)

    def decorate(view: PublicView[Path]) -> Handler[Path]:
        @wraps(view)
        async def call(services: Services, /, *args: Path.args, **path: Path.kwargs) -> Answer:
            return await _finish(services, view(services, *args, **path))

        return _handler(operation, call)

    return decorate


def public_with_body(
    kind: type[Input], **declaration: Unpack[Declaration]
) -> Callable[[PublicInputView[Input, Path]], Handler[Path]]:
    """Make the handler of a view that anybody may call and that takes a body."""
    operation, reader = Operation(**declaration, body=kind, needs_token=False), BodyReader(kind)

    def decorate(view: PublicInputView[Input, Path]) -> Handler[Path]:
        @wraps(view)
        async def call(services: Services, /, *args: Path.args, **path: Path.kwargs) -> Answer:
            body = await reader.read_request(request)
            if isinstance(body, Refused):
                return body
            return await _finish(services, view(services, body, *args, **path))

        return _handler(operation, call)

    return decorate


def signed_in(**declaration: Unpack[Declaration]) -> Callable[[View[Path]], Handler[Path]]:
    """Make the handler of a view that asks for an access token."""
    operation = Operation(**declaration)

    def decorate(view: View[Path]) -> Handler[Path]:
        @wraps(view)
        async def call(services: Services, /, *args: Path.args, **path: Path.kwargs) -> Answer:
            actor = await _authenticate(operation, services)
            if isinstance(actor, Refused):
                return actor
            return await _finish(services, view(services, actor, *args, **path))

        return _handler(operation, call)

    return decorate


def signed_in_with_body(
    kind: type[Input], **declaration: Unpack[Declaration]
) -> Callable[[InputView[Input, Path]], Handler[Path]]:
    """Make the handler of a view that asks for an access token and takes a body."""
    return _signed_in_with(Operation(**declaration, body=kind), BodyReader(kind))


def signed_in_with_query(
    kind: type[Input], **declaration: Unpack[Declaration]
) -> Callable[[InputView[Input, Path]], Handler[Path]]:
    """Make the handler of a view that asks for an access token and takes a query string."""
    return _signed_in_with(Operation(**declaration, query=kind), QueryReader(kind))


def _signed_in_with(
    operation: Operation, reader: BodyReader[Input] | QueryReader[Input]
) -> Callable[[InputView[Input, Path]], Handler[Path]]:
    def decorate(view: InputView[Input, Path]) -> Handler[Path]:
        @wraps(view)
        async def call(services: Services, /, *args: Path.args, **path: Path.kwargs) -> Answer:
            actor = await _authenticate(operation, services)
            if isinstance(actor, Refused):
                return actor
            given = await reader.read_request(request)
            if isinstance(given, Refused):
                return given
            return await _finish(services, view(services, actor, given, *args, **path))

        return _handler(operation, call)

    return decorate


def _handler(operation: Operation, call: PublicView[Path]) -> Handler[Path]:
    @wraps(call)
    async def handle(*args: Path.args, **path: Path.kwargs) -> TrioResponse:
        services = cast("Services", current_app.extensions[SERVICES])
        timeouts = services.config.timeouts
        with span(call.__name__), trio.move_on_after(timeouts.body + timeouts.work):
            if operation.limits_sign_in and (refused := services.sign_in_limit.spend(_network(services))):
                return respond(refused)
            if operation.limits_look_ups and (refused := services.look_up_limit.spend(_network(services))):
                return respond(refused)
            return respond(await call(services, *args, **path))
        return respond(UNAVAILABLE)

    setattr(handle, DECLARED, operation)
    _document(operation, handle)
    return handle


async def _authenticate(operation: Operation, services: Services) -> Actor | Refused:
    token = read_token(request.headers.getlist("Authorization"))
    if isinstance(token, Refused):
        return token
    actor = await services.sessions.authenticate(token)
    if isinstance(actor, Refused):
        return actor
    # Once it is known who asks: a token that was made up out of ids spends nobody's budget.
    for budget in (Budget.REQUESTS, *operation.spends):
        if refused := services.budgets.spend(actor.account, budget):
            return refused
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


def _document(operation: Operation, handle: Handler[Path]) -> None:
    """Tell quart-schema, which marks the function, what goes into the OpenAPI document; `api.schema` adds refusals."""
    for status, model in operation.answers.items():
        if model is not None:
            document_response(model, status)(handle)
    if operation.body is not None:
        document_request(operation.body)(handle)
    if operation.query is not None:
        document_querystring(operation.query)(handle)
    if operation.needs_token:
        security_scheme([{BEARER: []}])(handle)
