"""Who asks: the access token in the Authorization header (RFC 6750)."""

from typing import Final

from domain.people.model import Actor
from domain.people.sessions import Sessions
from varde_contract.refusals import RefusalCode, Refused

_MISSING: Final = Refused(RefusalCode.UNAUTHENTICATED, "Send the access token as Authorization: Bearer.")


async def authenticate(sessions: Sessions, authorization: list[str]) -> Actor | Refused:
    """Say whose the one `Authorization` header is. Refuses `unauthenticated` and `token-expired`."""
    if len(authorization) != 1:
        return _MISSING
    scheme, _, token = authorization[0].partition(" ")
    if scheme.lower() != "bearer":
        return _MISSING
    return await sessions.authenticate(token.strip())
