"""The words that metrics have as labels: what can become of things, each with what it means."""

import enum
from typing import Final

from varde_contract.closing import CloseCode


class Handshake(enum.StrEnum):
    """What became of a connection that somebody opened, up to its Welcome."""

    ACCEPTED = "accepted"
    PLAIN_HTTP = "plain-http"
    CROWDED_OUT = "crowded-out"
    OVERLOADED = "overloaded"
    RATE_LIMITED = "rate-limited"
    NO_REQUEST = "no-request"
    TIMED_OUT = "timed-out"
    MALFORMED = "malformed"
    FAILED = "failed"
    BAD_TICKET = "bad-ticket"
    TICKET_EXPIRED = "ticket-expired"
    REVOKED = "revoked"
    UNSUPPORTED_VERSION = "unsupported-version"
    FULL = "full"
    DATABASE_LOST = "database-lost"
    VANISHED = "vanished"
    SURPRISE = "surprise"


class Resume(enum.StrEnum):
    """What became of a `join:conversation`, for each conversation that it was about."""

    LIVE = "live"
    CAUGHT_UP = "caught-up"
    EXPIRED = "expired"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    ABANDONED = "abandoned"


class Hostility(enum.StrEnum):
    """What broken or hostile clients do. A connection may do several of these."""

    CROWD = "crowd"
    IDLE = "idle"
    SLOW_HEADER = "slow-header"
    NO_HTTP = "no-http"
    BAD_TLS = "bad-tls"
    SLOW_HANDSHAKE = "slow-handshake"
    REPLAY = "replay"
    HALF_OPEN = "half-open"
    GIANT_FRAME = "giant-frame"
    FRAGMENTS = "fragments"
    RESERVED_BITS = "reserved-bits"
    BAD_FRAME = "bad-frame"
    GARBAGE = "garbage"
    UNREAD_ANSWERS = "unread-answers"
    SLOW_READER = "slow-reader"
    FLOOD = "flood"
    SLOW_CLOSE = "slow-close"


class JournalRefusal(enum.StrEnum):
    """Why the journal turned a message away."""

    QUEUE_FULL = "queue-full"
    OUTAGE = "outage"
    COMMIT_FAILED = "commit-failed"
    STRANDED = "stranded"
    ROSTER_MOVED = "roster-moved"


HANDSHAKES: Final[dict[Handshake, str]] = {
    Handshake.ACCEPTED: "the ticket was good and `welcome` is on its way",
    Handshake.PLAIN_HTTP: "it asked for something else (health, a wrong path, an upgrade without our subprotocol) and "
    "has its answer",
    Handshake.CROWDED_OUT: "closed as it came: too many who had not said who they are",
    Handshake.OVERLOADED: "503 with Retry-After: too many handshakes under way, or the loop is late",
    Handshake.RATE_LIMITED: "503 with Retry-After: too many handshakes or connects from its address",
    Handshake.NO_REQUEST: "what came is no HTTP request, or larger than one may be: 400, 414 or 431",
    Handshake.TIMED_OUT: "not done within the deadline: 408, or close code 4004",
    Handshake.MALFORMED: "it broke TLS, the WebSocket or the protocol, or did not read what it was told",
    Handshake.FAILED: "the Noise handshake did not authenticate",
    Handshake.BAD_TICKET: "the ticket was forged, or for another device or key, or withdrawn",
    Handshake.TICKET_EXPIRED: "the ticket had passed its time",
    Handshake.REVOKED: "the device was revoked",
    Handshake.UNSUPPORTED_VERSION: "Hello asked for a version this node does not speak",
    Handshake.FULL: "the ticket was good, and the node has as many connections as it may have",
    Handshake.DATABASE_LOST: "the database did not say which conversations the device has",
    Handshake.VANISHED: "it hung up in the middle",
    Handshake.SURPRISE: "a fault of ours ended it; the log says where",
}
RESUMES: Final[dict[Resume, str]] = {
    Resume.LIVE: "nothing had been missed",
    Resume.CAUGHT_UP: "what had been missed was read from the log, all of it",
    Resume.EXPIRED: "the same, but some numbers had expired: the retention time passed before the device came",
    Resume.REFUSED: "not a member, no such number, or too many conversations",
    Resume.UNAVAILABLE: "the database was away for longer than a join waits",
    Resume.ABANDONED: "the connection, or the membership, ended before everything was read",
}
HOSTILITIES: Final[dict[Hostility, str]] = {
    Hostility.CROWD: "came when its address, or the node, had as many unknown connections as it may have",
    Hostility.IDLE: "connected and sent nothing until the deadline",
    Hostility.SLOW_HEADER: "began a request and did not end it in time",
    Hostility.NO_HTTP: "sent what is no HTTP request, or a larger one than any client does",
    Hostility.BAD_TLS: "broke TLS, or sent something else where TLS is spoken: plain HTTP, most of the time",
    Hostility.SLOW_HANDSHAKE: "began TLS and did not finish it in time, or upgraded and did not finish Noise and Hello",
    Hostility.REPLAY: "opened with a good IK message and never sent another: perhaps a recording",
    Hostility.HALF_OPEN: "was not heard for two and a half heartbeats and did not hang up",
    Hostility.GIANT_FRAME: "sent a frame or a message larger than a Noise message (1009)",
    Hostility.FRAGMENTS: "sent one message in more fragments than there is a reason for (1008)",
    Hostility.RESERVED_BITS: "set reserved bits, as for compression that nobody had agreed to (1002)",
    Hostility.BAD_FRAME: "broke RFC 6455 otherwise: unmasked, text, unknown opcodes, long control frames",
    Hostility.GARBAGE: "sent what does not authenticate after the handshake, or is sealed and no frames (4103)",
    Hostility.UNREAD_ANSWERS: "made the node answer pings and did not read the answers",
    Hostility.SLOW_READER: "let its outbox fill with messages (4001)",
    Hostility.FLOOD: "ignored limits again and again (4107), or sent thousands of pings or fragments at once (1008)",
    Hostility.SLOW_CLOSE: "did not answer the close frame, or did not hang up after it",
}
HOSTILITY_ADVICE: Final[dict[Hostility, str]] = {
    Hostility.CROWD: "Block the address in front of the relay. If it is your load balancer's, tell the relay of it "
    "with VARDE_RELAY_PROXIES.",
    Hostility.IDLE: "Scanners, and load balancers that only connect to see whether a node lives: let those ask "
    "`GET /v1/health`.",
    Hostility.SLOW_HEADER: "Somebody who wants to hold all places, or a very bad network. Each holds one for the "
    "handshake's deadline; block the address when `crowd` follows.",
    Hostility.NO_HTTP: "Scanners. If it is every connection, whatever stands in front speaks TLS or HTTP/2 to a node "
    "that does not.",
    Hostility.BAD_TLS: "Clients with `ws://` instead of `wss://`, without TLS 1.3, or that do not trust the "
    "certificate: see when it ends.",
    Hostility.SLOW_HANDSHAKE: "Single ones are bad networks. Many from one release are a client that stops after the "
    "upgrade; many from one address are held to 32 places.",
    Hostility.REPLAY: "Single ones are connections that broke at that moment. Many: somebody has recorded first "
    "messages and tries them. It opens nothing, but somebody reads your network.",
    Hostility.HALF_OPEN: "Phones out of reach. A wave is a network, or a load balancer that forgets connections which "
    "are silent for less than 25 seconds.",
    Hostility.GIANT_FRAME: "A client that does not know the limit, see its version. Nothing of the frame was kept.",
    Hostility.FRAGMENTS: "No library of the usual ones does that: an attack, and it costs nothing.",
    Hostility.RESERVED_BITS: "A client, or a proxy on the way, that compresses though it was not agreed to.",
    Hostility.BAD_FRAME: "A client with a WebSocket of its own, or somebody's browser console.",
    Hostility.GARBAGE: "A client whose count of messages went wrong, or somebody who changes bytes on the way: look "
    "whether it is one release or one network.",
    Hostility.UNREAD_ANSWERS: "An attack, and it has ended with the connection.",
    Hostility.SLOW_READER: "It comes back and resumes. When it is many, see the outboxes and the size of rooms.",
    Hostility.FLOOD: "A client in a loop: find its version. Revoke the device if it goes on.",
    Hostility.SLOW_CLOSE: "Follows `half-open` and `slow-reader`: who does not read cannot answer.",
}
"""What the person who sees it should do."""
JOURNAL_REFUSALS: Final[dict[JournalRefusal, str]] = {
    JournalRefusal.QUEUE_FULL: "as many messages or bytes wait as may: refused `overloaded`",
    JournalRefusal.OUTAGE: "the database had just failed, so nothing was tried: refused `unavailable`",
    JournalRefusal.COMMIT_FAILED: "in a batch whose commit failed or took too long: refused `unavailable`",
    JournalRefusal.STRANDED: "waiting behind such a batch, or its roster could not be read again: refused "
    "`unavailable`",
    JournalRefusal.ROSTER_MOVED: "the roster moved while it waited and the answer is no by now, or it moved twice",
}

UNKNOWN_CODE: Final = -1
"""Stands for a close code that is neither ours nor the RFC's."""
STANDARD_CODES: Final = (*range(1000, 1004), *range(1007, 1012))
"""Of RFC 6455 section 7.4.1: those that may stand in a close frame and that a relay's connections end with."""
GOODBYES: Final = frozenset({1000, 1001})
"""What an honest client closes with. Any other code of a peer is `other`: it must not pass for one of ours."""
CLOSINGS: Final[dict[int | None, str]] = {
    None: "none",
    UNKNOWN_CODE: "other",
    **dict(zip(STANDARD_CODES, map(str, STANDARD_CODES), strict=True)),
    **{code.value: code.label for code in CloseCode},
}
"""The labels of close codes: ours by their words, the RFC's by number, and `none` for an end without one."""

HANDSHAKE_ENDS: Final[dict[CloseCode, Handshake]] = {
    CloseCode.SLOW_CONSUMER: Handshake.MALFORMED,
    CloseCode.OVERLOADED: Handshake.FULL,
    CloseCode.DATABASE_LOST: Handshake.DATABASE_LOST,
    CloseCode.HANDSHAKE_TIMEOUT: Handshake.TIMED_OUT,
    CloseCode.BAD_TICKET: Handshake.BAD_TICKET,
    CloseCode.REVOKED: Handshake.REVOKED,
    CloseCode.PROTOCOL_ERROR: Handshake.MALFORMED,
    CloseCode.TICKET_EXPIRED: Handshake.TICKET_EXPIRED,
    CloseCode.HANDSHAKE_FAILED: Handshake.FAILED,
    CloseCode.UNSUPPORTED_VERSION: Handshake.UNSUPPORTED_VERSION,
}
"""What a handshake came to that was closed with a code of ours."""

HOSTILE_ENDS: Final[dict[int, Hostility]] = {
    1002: Hostility.BAD_FRAME,
    1003: Hostility.BAD_FRAME,
    1007: Hostility.BAD_FRAME,
    1008: Hostility.FRAGMENTS,
    1009: Hostility.GIANT_FRAME,
    CloseCode.SLOW_CONSUMER.value: Hostility.SLOW_READER,
    CloseCode.PROTOCOL_ERROR.value: Hostility.GARBAGE,
    CloseCode.ABUSE.value: Hostility.FLOOD,
}
"""What an established connection had done that the node closed with this code."""
