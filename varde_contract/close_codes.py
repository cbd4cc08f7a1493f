"""The WebSocket close codes of the relay: when each is used and what its reader should do.

Codes for WebSocket-level faults are those of RFC 6455 section 7.4 and are not repeated here.
"""

import enum
from typing import NamedTuple


class CloseCode(enum.IntEnum):
    """4000-4099: come back later, with jitter. 4100-4199: do not come back as you are."""

    DRAINING = 4000
    SLOW_CONSUMER = 4001
    OVERLOADED = 4002
    DATABASE_LOST = 4003
    HANDSHAKE_TIMEOUT = 4004
    HEARTBEAT_MISSED = 4005
    BAD_TICKET = 4100
    REVOKED = 4101
    REPLACED = 4102
    PROTOCOL_ERROR = 4103
    TICKET_EXPIRED = 4104
    HANDSHAKE_FAILED = 4105
    UNSUPPORTED_VERSION = 4106
    ABUSE = 4107
    BAD_HELLO = 4108
    UNSUPPORTED_HANDSHAKE = 4109

    @property
    def label(self) -> str:
        """The word used as close reason, metric label and heading in the documentation."""
        return self.name.lower().replace("_", "-")

    @property
    def comes_back(self) -> bool:
        """Whether the same client may connect again unchanged."""
        return self < CloseCode.BAD_TICKET


class Meaning(NamedTuple):
    """One row of the documentation."""

    when: str
    reader_should: str


MEANINGS: dict[CloseCode, Meaning] = {
    CloseCode.DRAINING: Meaning(
        "the node is going down in good order", "reconnect after the time and jitter that `goaway` named"
    ),
    CloseCode.SLOW_CONSUMER: Meaning(
        "the outbox of the connection was full and nothing in it could be dropped",
        "reconnect with back-off; join resumes where the device had confirmed",
    ),
    CloseCode.OVERLOADED: Meaning("the node is at a limit of its own", "reconnect with back-off"),
    CloseCode.DATABASE_LOST: Meaning("the node lost its database for longer than it waits", "reconnect with back-off"),
    CloseCode.HANDSHAKE_TIMEOUT: Meaning(
        "the handshake, Hello included, took longer than its deadline", "reconnect with back-off"
    ),
    CloseCode.HEARTBEAT_MISSED: Meaning("nothing was heard for longer than the heartbeat allows", "reconnect"),
    CloseCode.BAD_TICKET: Meaning(
        "the ticket was forged, named another device or another Noise key, or was withdrawn",
        "ask the API for a new ticket, then reconnect",
    ),
    CloseCode.REVOKED: Meaning("the device was revoked", "stop; register a new device to come back"),
    CloseCode.REPLACED: Meaning(
        "the same device connected again, here or to another node", "stop; the newer connection has taken over"
    ),
    CloseCode.PROTOCOL_ERROR: Meaning("a message broke the protocol", "report a bug in the client"),
    CloseCode.TICKET_EXPIRED: Meaning("the ticket had passed its time", "ask the API for a new ticket, then reconnect"),
    CloseCode.HANDSHAKE_FAILED: Meaning(
        "the Noise handshake did not authenticate",
        "fetch the relay's keys again and start over with XX; if it goes on, suspect the network",
    ),
    CloseCode.UNSUPPORTED_VERSION: Meaning("Hello asked for a version this node does not speak", "upgrade the client"),
    CloseCode.ABUSE: Meaning(
        "limits were ignored again and again", "slow down; reconnect only when told to by a person"
    ),
    CloseCode.BAD_HELLO: Meaning("Noise was fine, but Hello was not well-formed", "report a bug in the client"),
    CloseCode.UNSUPPORTED_HANDSHAKE: Meaning(
        "the first byte named a handshake that this relay does not have, or has no key for",
        "fetch the relay's keys again and use another handshake; upgrade the client if there is none",
    ),
}
