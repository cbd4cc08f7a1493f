"""What handling a frame may come to, and how a refusal is sent: as a `refused` frame, or as a close code."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias, assert_never

from varde_contract.close_codes import CloseCode
from varde_contract.frames import ReceivedFrame, RefusedFrame, about_of, subject_of
from varde_contract.refusals import RefusalCode as Code
from varde_contract.refusals import Refused

Deferred: TypeAlias = Callable[[], Awaitable[Refused | None]]
"""The rest of a handler that has to wait for a store. May raise StoreUnavailable."""

Outcome: TypeAlias = Refused | Deferred | None
"""What a handler returns. Most frames need only what is in memory: plain functions handle them within the reactor's
pass, and return None or a refusal. Only what has to ask a store is deferred to the connection's own task."""


def refused_frame(frame: ReceivedFrame, refused: Refused) -> RefusedFrame:
    """Return the frame that tells a client what was refused and why."""
    return RefusedFrame(
        about=about_of(frame),
        subject=subject_of(frame),
        code=refused.code,
        detail=refused.detail,
        retry_after_ms=refused.retry_after_ms,
        stale=refused.stale,
    )


def close_code(code: Code) -> CloseCode:
    """Return the code that a connection is closed with when its Hello is refused. Covers every refusal code."""
    match code:
        case Code.TICKET_EXPIRED:
            return CloseCode.TICKET_EXPIRED
        case Code.TICKET_REVOKED:
            return CloseCode.REVOKED
        case Code.VERSION_UNSUPPORTED:
            return CloseCode.UNSUPPORTED_VERSION
        case Code.UNAVAILABLE:
            return CloseCode.DATABASE_LOST
        case Code.TOO_SLOW:
            return CloseCode.HANDSHAKE_TIMEOUT
        case Code.OVERLOADED | Code.RATE_LIMITED | Code.TOO_MANY | Code.INTERNAL:
            return CloseCode.OVERLOADED
        case Code.MALFORMED | Code.TOO_LARGE | Code.UNSUPPORTED_MEDIA_TYPE | Code.METHOD_NOT_ALLOWED:
            return CloseCode.PROTOCOL_ERROR
        case (
            # Faults of a ticket, and codes that only the API or a `refused` frame uses: a client that gets one of
            # them for its Hello needs another ticket.
            Code.TICKET_INVALID
            | Code.UNAUTHENTICATED
            | Code.TOKEN_EXPIRED
            | Code.NOT_FOUND
            | Code.NOT_ALLOWED
            | Code.PROFILE_NOT_ALLOWED
            | Code.NO_DEVICE
            | Code.STALE_DEVICE_LIST
            | Code.BAD_DEVICE_LIST
            | Code.CODE_WRONG
            | Code.CODE_EXPIRED
            | Code.CODE_EXHAUSTED
            | Code.SESSION_HAS_DEVICE
            | Code.DEVICE_EXISTS
            | Code.BAD_KEY
            | Code.BAD_SIGNATURE
            | Code.WRONG_KIND
            | Code.ALREADY_MEMBER
            | Code.LAST_OWNER
            | Code.NAME_TAKEN
            | Code.CLAIM_LIMIT
            | Code.STALE_DEVICES
            | Code.STALE_CHAIN
            | Code.STALE_CARD
            | Code.BAD_CARD
            | Code.NOT_JOINED
            | Code.OUT_OF_RANGE
        ):
            return CloseCode.BAD_TICKET
        case _:
            assert_never(code)
