"""Requests, and how large a body of each may be.

A body is kept in memory from its first byte on, before anybody has looked at who sends it. Where nobody has to show a
token, it is as small as what is asked for there; everywhere else the token is looked at before the body is waited for.
"""

from typing import Any, Final

from quart_trio.wrappers import TrioRequest

STRANGERS: Final = "/v1/auth/"
STRANGER_BODY_BYTES: Final = 8 * 1_024
"""An address and a code, even with every character escaped, take less than half of it."""


class BoundedRequest(TrioRequest):
    """A request whose body is bounded by where it goes."""

    def __init__(
        self, method: str, scheme: str, path: str, *more: Any, max_content_length: int | None = None, **named: Any
    ) -> None:
        if path.startswith(STRANGERS) and max_content_length is not None:
            max_content_length = min(max_content_length, STRANGER_BODY_BYTES)
        super().__init__(method, scheme, path, *more, max_content_length=max_content_length, **named)
