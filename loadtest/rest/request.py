"""One request to the API and its reply, as values."""

from typing import Any, Final

import msgspec

from varde_contract.rest.problems import Problem
from varde_contract.secret_struct import SecretStruct

REPLY_BYTES: Final = 1 << 20
"""The largest reply that is read. A roster of the largest conversation has a tenth of it."""

_problem: Final = msgspec.json.Decoder(Problem)


class Request(SecretStruct, frozen=True, kw_only=True):
    """`name` is the operation as it stands in a report: method and path, without ids."""

    name: str
    path: str
    token: str = ""
    body: Any = None
    """Sent as JSON; None sends none."""
    answer: Any = None
    """The type that a good reply's body has to be of; None takes an empty one."""

    @property
    def method(self) -> str:
        """The method."""
        return self.name.partition(" ")[0]


class Reply(SecretStruct, frozen=True):
    """What the API said."""

    status: int
    body: bytes


class Unanswered(Exception):
    """The request got no reply that could be read; the text is the word to count it by."""


def judge(request: Request, reply: Reply) -> str | None:
    """Return the word of a failure: a refusal's status and code, or what is wrong with a reply. None for a good one."""
    if reply.status >= 300:  # noqa: PLR2004 - RFC 9110, section 15: no operation redirects
        return _refusal(reply)
    try:
        read(request, reply)
    except Unanswered as fault:
        return str(fault)
    return None


def read(request: Request, reply: Reply) -> Any:
    """Return a good reply's body as its type. Raises Unanswered."""
    if request.answer is None:
        if reply.body:
            raise Unanswered("malformed")
        return None
    try:
        return msgspec.json.decode(reply.body, type=request.answer)
    except msgspec.MsgspecError:
        raise Unanswered("malformed") from None


def _refusal(reply: Reply) -> str:
    try:
        return f"{reply.status} {_problem.decode(reply.body).code}"
    except msgspec.MsgspecError:
        return str(reply.status)
