"""The one list of refusals: every expected "no" of the relay and of the API.

Each face maps the list once (`api.problems` to HTTP statuses, `relay.frames.refusals` to wire codes), exhaustively.
"""

import enum
from typing import Annotated

from msgspec import Meta, Struct

from varde_contract.ids import DeviceId
from varde_contract.limits import DEVICES_PER_SEND


class RefusalCode(enum.StrEnum):
    """What was refused. The value is the word on the wire, in problem details, in metrics and in the docs."""

    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    TOO_SLOW = "too-slow"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    NOT_FOUND = "not-found"
    UNAUTHENTICATED = "unauthenticated"
    TOKEN_EXPIRED = "token-expired"  # noqa: S105 - a word, not a token
    CODE_WRONG = "code-wrong"
    CODE_EXPIRED = "code-expired"
    CODE_EXHAUSTED = "code-exhausted"
    NOT_ALLOWED = "not-allowed"
    PROFILE_NOT_ALLOWED = "profile-not-allowed"
    NO_DEVICE = "no-device"
    SESSION_HAS_DEVICE = "session-has-device"
    DEVICE_EXISTS = "device-exists"
    BAD_KEY = "bad-key"
    BAD_SIGNATURE = "bad-signature"
    BAD_DEVICE_LIST = "bad-device-list"
    BAD_CARD = "bad-card"
    STALE_DEVICE_LIST = "stale-device-list"
    WRONG_KIND = "wrong-kind"
    ALREADY_MEMBER = "already-member"
    LAST_OWNER = "last-owner"
    NAME_TAKEN = "name-taken"
    TOO_MANY = "too-many"
    CLAIM_LIMIT = "claim-limit"
    RATE_LIMITED = "rate-limited"
    STALE_DEVICES = "stale-devices"
    STALE_CHAIN = "stale-chain"
    STALE_CARD = "stale-card"
    NOT_JOINED = "not-joined"
    OUT_OF_RANGE = "out-of-range"
    TICKET_INVALID = "ticket-invalid"
    TICKET_EXPIRED = "ticket-expired"
    TICKET_REVOKED = "ticket-revoked"
    VERSION_UNSUPPORTED = "version-unsupported"
    UNAVAILABLE = "unavailable"
    OVERLOADED = "overloaded"
    INTERNAL = "internal"


class StaleDevices(Struct, frozen=True):
    """What a sender must repair: the roster version now, and of the devices it left out and those that are gone some.

    The lists are cut where a refusal would no longer fit a Noise message: only the roster itself is complete.
    """

    roster_version: int
    missing: Annotated[tuple[DeviceId, ...], Meta(max_length=DEVICES_PER_SEND)] = ()
    gone: Annotated[tuple[DeviceId, ...], Meta(max_length=DEVICES_PER_SEND)] = ()


class Refused(Struct, frozen=True):
    """An expected "no". `detail` is for a person and names what to do; it never repeats what was sent."""

    code: RefusalCode
    detail: str
    retry_after_ms: int | None = None
    stale: StaleDevices | None = None
