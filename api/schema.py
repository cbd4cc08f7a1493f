"""The OpenAPI 3.1 document, made of the routes, their declarations and the Structs of the contract.

quart-schema's provider makes most of it, but leaves out nested Structs and knows no refusals.
"""

import inspect
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct
from quart import Quart
from quart_schema import HttpSecurityScheme, Info, QuartSchema, Tag
from quart_schema.openapi import OpenAPIProvider
from quart_schema.validation import DataSource
from werkzeug.routing import BaseConverter, Rule, UUIDConverter

from api.http.problems import status_of
from api.operation import BEARER, DECLARED, Operation
from varde_contract.ids import id_schema
from varde_contract.refusals import RefusalCode
from varde_contract.rest.problems import PROBLEM_MEDIA_TYPE, Problem

Json: TypeAlias = dict[str, Any]

API_VERSION: Final = "1.0.0"
_REF: Final = "#/components/schemas/{name}"
_ABOUT: Final = """\
Sign-in, profiles, devices, keys and conversations of Varde. Messages themselves travel over the relay, or over
`POST /v1/messages`; everything people say is end-to-end encrypted, and the server routes ciphertext.

Bodies are JSON. Ids are UUIDs, bytes are base64, times are RFC 3339 in UTC. A request with an unknown field is refused.
Every refusal is a problem details document (RFC 9457) whose `code` is one word of a fixed list.
"""
_TAGS: Final = {
    "auth": "Sign-in by one-time code, and sessions.",
    "account": "The account and the root key that signs its devices.",
    "profiles": "The modes of an account.",
    "user-name": "The user name of a profile of the account.",
    "user-names": "Whose user name it is.",
    "device-list": "The account's own device lists, signed by a manager or the root key.",
    "accounts": "Device lists of other accounts.",
    "devices": "Devices, and the sessions they are bound to.",
    "prekeys": "What others need to write to a device that is away.",
    "conversations": "Conversations and their rosters.",
    "statements": "Who is in a conversation: signed statements, appended to its chain.",
    "blocks": "Accounts whose invitations are not shown. They are never told.",
    "links": "Invite links to people. A link to a group is a statement of its chain.",
    "words": "The first words of an invitation.",
    "requests": "Invitations that wait for an answer.",
    "cards": "Names, titles and pictures, sealed by clients.",
    "messages": "Sending without a socket.",
    "relay": "How to reach the relay.",
    "log": "The transparency log of device lists: anybody may check it.",
    "health": "Whether the API runs and can serve.",
}
_RETRY: Final = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}}
_CHALLENGE: Final = {"WWW-Authenticate": {"description": "RFC 6750.", "schema": {"type": "string"}}}


class Provider(OpenAPIProvider):
    """quart-schema's provider, completed."""

    def schema(self) -> Json:
        """Return the document, in an order that depends on nothing but the source."""
        document: Json = super().schema()
        document["info"]["license"] = {"name": "Apache License 2.0", "identifier": "Apache-2.0"}
        document["components"]["schemas"].update(_components(Problem)[1])
        document["paths"] = dict(sorted(document["paths"].items()))
        document["components"]["schemas"] = dict(sorted(document["components"]["schemas"].items()))
        return dict(_normalised(document))

    def build_paths(self, rule: Rule) -> tuple[Json, Json]:
        """Add the refusals, and the answers that have no content."""
        paths, components = super().build_paths(rule)
        declared: Operation = getattr(self._app.view_functions[rule.endpoint], DECLARED)
        for path in paths.values():
            for operation in path.values():
                operation["tags"] = sorted(operation["tags"])
                operation["responses"] = _responses(declared, operation["responses"])
        return paths, components

    def build_path_parameter(self, name: str, converter: BaseConverter) -> Json:
        """Say that ids are UUIDs."""
        parameter = super().build_path_parameter(name, converter)
        if isinstance(converter, UUIDConverter):
            parameter["schema"] = id_schema(type(converter))
        return parameter

    def build_querystring_parameters(self, model: type[Struct]) -> tuple[list[Json], Json]:  # type: ignore[override]
        """Return a parameter for each field."""
        _, components = _components(model)
        own = components.pop(model.__name__)
        required = own.get("required", ())
        parameters = [
            {"name": name, "in": "query", "required": name in required, "schema": schema}
            for name, schema in own["properties"].items()
        ]
        return parameters, components

    def build_request_body(self, model: type[Struct], source: DataSource) -> tuple[Json, Json]:  # type: ignore[override] # noqa: ARG002 - quart-schema's signature; ours are all JSON
        """Refer to the Struct."""
        reference, components = _components(model)
        return {"required": True, "content": {"application/json": {"schema": reference}}}, components

    def build_response_object(self, model: type[Struct], headers_model: type[Struct] | None) -> tuple[Json, Json]:  # type: ignore[override] # noqa: ARG002 - quart-schema's signature; ours have no headers model
        """Refer to the Struct."""
        reference, components = _components(model)
        said = inspect.getdoc(model) or ""
        return {"description": said, "content": {"application/json": {"schema": reference}}}, components

    def operation_id(self, method: str, path: str, func: Callable[..., Any]) -> str:  # noqa: ARG002 - quart-schema's signature
        """Return the name of the view, which is unique: a generated client gets it as the name of a method."""
        return func.__name__


def open_schema() -> QuartSchema:
    """Return the extension, without quart-schema's own pages, which load scripts from elsewhere."""
    return QuartSchema(
        openapi_path=None,
        info=Info(title="Varde", version=API_VERSION, description=_ABOUT),
        tags=[Tag(name, description) for name, description in _TAGS.items()],
        security_schemes={BEARER: HttpSecurityScheme(scheme="bearer", bearer_format="opaque")},
        conversion_preference="msgspec",
        openapi_provider_class=Provider,
    )


def document_of(app: Quart) -> Json:
    """Return the OpenAPI document of an application whose routes are all there."""
    provider: Provider = app.extensions["QUART_SCHEMA"].openapi_provider
    return provider.schema()


def _components(model: type[Struct]) -> tuple[Json, Json]:
    (reference,), components = msgspec.json.schema_components([model], schema_hook=id_schema, ref_template=_REF)
    return reference, components


def _responses(declared: Operation, answers: Json) -> Json:
    found: dict[int, Json] = {int(status): response for status, response in answers.items()}
    for status, model in declared.answers.items():
        if model is None:
            found[status] = {"description": HTTPStatus(status).phrase}
    for status, codes in _by_status(declared.all_refusals()).items():
        _add_problem(found.setdefault(status, {}), status, codes)
    return {str(status): found[status] for status in sorted(found)}


def _by_status(codes: tuple[RefusalCode, ...]) -> dict[int, list[RefusalCode]]:
    found: dict[int, list[RefusalCode]] = {}
    for code in codes:
        found.setdefault(status_of(code), []).append(code)
    return found


def _add_problem(response: Json, status: int, codes: list[RefusalCode]) -> None:
    words = ", ".join(f"`{code}`" for code in codes)
    response["description"] = f"{response['description']} Or: {words}" if "description" in response else words
    schema = {"allOf": [{"$ref": _REF.format(name=Problem.__name__)}, {"properties": {"code": {"enum": list(codes)}}}]}
    response.setdefault("content", {})[PROBLEM_MEDIA_TYPE] = {"schema": schema}
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        response["headers"] = _RETRY
    if status == HTTPStatus.UNAUTHORIZED:
        response["headers"] = _CHALLENGE


def _normalised(node: Any) -> Any:
    """Return a copy without indentation in texts and without what is empty."""
    if isinstance(node, dict):
        return {
            key: inspect.cleandoc(value) if key == "description" and isinstance(value, str) else _normalised(value)
            for key, value in node.items()
            if not (key in {"description", "parameters"} and not value)
        }
    if isinstance(node, list | tuple):
        return [_normalised(item) for item in node]
    return str(node) if isinstance(node, str) else node
