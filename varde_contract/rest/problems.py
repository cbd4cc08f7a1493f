"""Problem details (RFC 9457) and health."""

from typing import Annotated

from msgspec import Meta, Struct

from varde_contract.refusals import RefusalCode, StaleDevices

PROBLEM_MEDIA_TYPE = "application/problem+json"


class Problem(Struct, frozen=True, omit_defaults=True):
    """A refusal. `type` is a URI reference to its page in the documentation, `code` the word of the one list."""

    type: str
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    code: RefusalCode
    detail: str
    retry_after_ms: int | None = None
    stale: StaleDevices | None = None


class Health(Struct, frozen=True):
    """The process runs."""

    status: str = "ok"


class Readiness(Struct, frozen=True):
    """Whether the process can serve, and what it waits for if not."""

    ready: bool
    database: bool
    schema: bool = True
    bus: bool = True
