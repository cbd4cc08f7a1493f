"""The closed sets of words that metrics have as labels, with what each word means, and how events map to them."""

import enum
from typing import Final

from relay.socket.framing import RESERVED_BITS
from tls.connection import TlsFault
from varde_contract.close_codes import CloseCode
from varde_contract.errors import PeerFault


class HandshakeOutcome(enum.StrEnum):
    """What became of a connection up to its `welcome`."""

    ACCEPTED = "accepted"
    PLAIN_HTTP = "plain-http"
    CROWDED_OUT = "crowded-out"
    OVERLOADED = "overloaded"
    RATE_LIMITED = "rate-limited"
    NO_REQUEST = "no-request"
    TIMED_OUT = "timed-out"
    MALFORMED = "malformed"
    FAILED = "failed"
    BAD_HELLO = "bad-hello"
    UNSUPPORTED_HANDSHAKE = "unsupported-handshake"
    BAD_TICKET = "bad-ticket"
    TICKET_EXPIRED = "ticket-expired"
    REVOKED = "revoked"
    UNSUPPORTED_VERSION = "unsupported-version"
    FULL = "full"
    DATABASE_LOST = "database-lost"
    VANISHED = "vanished"
    SURPRISE = "surprise"


class JoinOutcome(enum.StrEnum):
    """What became of a `join:conversation`, for each conversation in it."""

    LIVE = "live"
    CAUGHT_UP = "caught-up"
    EXPIRED = "expired"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    ABANDONED = "abandoned"


class Hostility(enum.StrEnum):
    """What broken or hostile clients do. One connection may do several of these."""

    CROWD = "crowd"
    IDLE = "idle"
    SLOW_HEADER = "slow-header"
    NO_HTTP = "no-http"
    NO_PROXY_HEADER = "no-proxy-header"
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
    """Why the journal refused a message."""

    QUEUE_FULL = "queue-full"
    OUTAGE = "outage"
    COMMIT_FAILED = "commit-failed"
    STRANDED = "stranded"
    ROSTER_MOVED = "roster-moved"


HANDSHAKE_OUTCOME: Final[dict[HandshakeOutcome, str]] = {
    HandshakeOutcome.ACCEPTED: "The ticket was good, and `welcome` was sent.",
    HandshakeOutcome.PLAIN_HTTP: "The request was not for the WebSocket (health, a wrong path, an upgrade without our "
    "subprotocol) and was answered.",
    HandshakeOutcome.CROWDED_OUT: "Closed when it was accepted: too many connections were not authenticated yet.",
    HandshakeOutcome.OVERLOADED: "503 with Retry-After: many handshakes, or newcomers not served; or a late loop.",
    HandshakeOutcome.RATE_LIMITED: "503 with Retry-After: too many handshakes or connects from its address.",
    HandshakeOutcome.NO_REQUEST: "No HTTP request was sent, or one that is too large: 400, 414 or 431.",
    HandshakeOutcome.TIMED_OUT: "Not done within the deadline: 408, or close code 4004.",
    HandshakeOutcome.MALFORMED: "The client broke TLS, the WebSocket or the protocol, or did not read our answers.",
    HandshakeOutcome.FAILED: "The Noise handshake did not authenticate.",
    HandshakeOutcome.BAD_HELLO: "Noise was fine, and Hello was not well-formed.",
    HandshakeOutcome.UNSUPPORTED_HANDSHAKE: "The client asked for a handshake that this node does not have.",
    HandshakeOutcome.BAD_TICKET: "The ticket was forged, withdrawn, or made for another device or key.",
    HandshakeOutcome.TICKET_EXPIRED: "The ticket had expired.",
    HandshakeOutcome.REVOKED: "The device was revoked.",
    HandshakeOutcome.UNSUPPORTED_VERSION: "Hello asked for a version that this node does not speak.",
    HandshakeOutcome.FULL: "The ticket was good, but the node has as many connections as it may have.",
    HandshakeOutcome.DATABASE_LOST: "The database did not say which conversations the device has.",
    HandshakeOutcome.VANISHED: "The client hung up during the handshake.",
    HandshakeOutcome.SURPRISE: "A bug of ours ended it; the log names the line.",
}
JOIN_OUTCOME: Final[dict[JoinOutcome, str]] = {
    JoinOutcome.LIVE: "The device had missed nothing.",
    JoinOutcome.CAUGHT_UP: "The device got everything it had missed from the log.",
    JoinOutcome.EXPIRED: "The device got what was left in the log; some messages had expired before it came back.",
    JoinOutcome.REFUSED: "Not a member, no such number, or too many conversations.",
    JoinOutcome.UNAVAILABLE: "The database was away for longer than a join waits.",
    JoinOutcome.ABANDONED: "The connection or the membership ended before the log was read to its end.",
}
HOSTILITY: Final[dict[Hostility, str]] = {
    Hostility.CROWD: "Connected when its address, or the node, had the most unauthenticated connections allowed.",
    Hostility.IDLE: "Connected and sent nothing until the deadline.",
    Hostility.SLOW_HEADER: "Began a request and did not finish it in time.",
    Hostility.NO_HTTP: "Sent something that is no HTTP request, or a larger one than any client sends.",
    Hostility.NO_PROXY_HEADER: "Came from a trusted load balancer without a PROXY header, or with a malformed one.",
    Hostility.BAD_TLS: "Broke TLS, or sent something else on a TLS port: usually plain HTTP.",
    Hostility.SLOW_HANDSHAKE: "Did not finish TLS in time, or upgraded and did not finish Noise and Hello in time.",
    Hostility.REPLAY: "Opened with a valid first IK message and sent nothing after it: perhaps a recording.",
    Hostility.HALF_OPEN: "Sent nothing for two and a half heartbeats and did not hang up.",
    Hostility.GIANT_FRAME: "Sent a frame or a message larger than a Noise message (1009).",
    Hostility.FRAGMENTS: "Sent one message in more than 1,024 fragments (1008).",
    Hostility.RESERVED_BITS: "Set reserved bits, as for compression that was not negotiated (1002).",
    Hostility.BAD_FRAME: "Broke RFC 6455 in another way: unmasked, text, unknown opcodes, long control frames.",
    Hostility.GARBAGE: "Sent a message that does not authenticate, or that holds no frames (4103).",
    Hostility.UNREAD_ANSWERS: "Sent pings and did not read the pongs.",
    Hostility.SLOW_READER: "Let its outbox fill up with messages (4001).",
    Hostility.FLOOD: "Ignored its limits again and again (4107), or sent thousands of pings or fragments (1008).",
    Hostility.SLOW_CLOSE: "Did not answer the close frame, or did not hang up after it.",
}
HOSTILITY_ADVICE: Final[dict[Hostility, str]] = {
    Hostility.CROWD: "Block the address in front of the relay. If it is your load balancer, set VARDE_RELAY_PROXIES.",
    Hostility.IDLE: "Scanners, or load balancers that only connect to test the node: use `GET /v1/health`.",
    Hostility.SLOW_HEADER: "An attempt to hold all places, or a very bad network. Each holds one place until the "
    "handshake's deadline. Block the address when `crowd` follows.",
    Hostility.NO_HTTP: "Scanners. If every connection does it, your proxy speaks TLS or HTTP/2 to the node.",
    Hostility.NO_PROXY_HEADER: "The balancer does not send it: `send-proxy-v2` is missing, perhaps in its checks.",
    Hostility.BAD_TLS: "Clients with `ws://` instead of `wss://`, without TLS 1.3, or that do not trust the "
    "certificate: check when it expires.",
    Hostility.SLOW_HANDSHAKE: "A few are bad networks. Many from one release: that client stops after the upgrade. "
    "Many from one address are limited to 32 at a time.",
    Hostility.REPLAY: "A few are connections that broke at that moment. Many: somebody recorded first messages and "
    "tries them. That opens nothing, but somebody can read your network.",
    Hostility.HALF_OPEN: "Phones without a network. A wave is a network failure, or a load balancer that drops "
    "connections which are silent for less than 25 seconds.",
    Hostility.GIANT_FRAME: "A client that does not know the limit: look at its version. Nothing of the frame was kept.",
    Hostility.FRAGMENTS: "No common library does this. It is an attack, and it costs nothing.",
    Hostility.RESERVED_BITS: "A client, or a proxy on the way, that compresses without having negotiated it.",
    Hostility.BAD_FRAME: "A client with its own WebSocket code, or a browser's console.",
    Hostility.GARBAGE: "A client whose message counter is wrong, or somebody changes bytes on the way: look whether it "
    "is one release or one network.",
    Hostility.UNREAD_ANSWERS: "An attack. It ended with the connection.",
    Hostility.SLOW_READER: "The client comes back and resumes. If there are many, look at outboxes and large rooms.",
    Hostility.FLOOD: "A client in a loop: find its version. Revoke the device if it goes on.",
    Hostility.SLOW_CLOSE: "Follows `half-open` and `slow-reader`: a client that does not read cannot answer.",
}
"""What an operator should do."""
JOURNAL_REFUSAL: Final[dict[JournalRefusal, str]] = {
    JournalRefusal.QUEUE_FULL: "The queue holds as many messages or bytes as it may: refused `overloaded`.",
    JournalRefusal.OUTAGE: "The database had just failed, so nothing was tried: refused `unavailable`.",
    JournalRefusal.COMMIT_FAILED: "In a batch whose commit failed or took too long: refused `unavailable`.",
    JournalRefusal.STRANDED: "Queued behind such a batch, or its roster could not be read: refused `unavailable`.",
    JournalRefusal.ROSTER_MOVED: "The roster changed while it waited, and the message is not allowed any more, or the "
    "roster changed twice.",
}

UNKNOWN_CODE: Final = -1
"""The key for close codes that are neither ours nor the RFC's: a peer may send any code, and must not make a label."""
STANDARD_CODES: Final = (*range(1000, 1004), *range(1007, 1012))
"""RFC 6455 section 7.4.1: those that may be in a close frame and that connections of a relay end with."""
CLIENT_CLOSE_CODES: Final = frozenset({1000, 1001})
"""What an honest client closes with. Any other code of a peer counts as `other`, so that it cannot pass for ours."""
CLOSE_CODES: Final[dict[int | None, str]] = {
    None: "none",
    UNKNOWN_CODE: "other",
    **dict(zip(STANDARD_CODES, map(str, STANDARD_CODES), strict=True)),
    **{code.value: code.label for code in CloseCode},
}
"""The label of each close code: our codes by name, the RFC's by number, `none` for an end without a close frame."""

HANDSHAKE_CLOSE_CODES: Final[dict[CloseCode, HandshakeOutcome]] = {
    CloseCode.SLOW_CONSUMER: HandshakeOutcome.MALFORMED,
    CloseCode.OVERLOADED: HandshakeOutcome.FULL,
    CloseCode.DATABASE_LOST: HandshakeOutcome.DATABASE_LOST,
    CloseCode.HANDSHAKE_TIMEOUT: HandshakeOutcome.TIMED_OUT,
    CloseCode.BAD_TICKET: HandshakeOutcome.BAD_TICKET,
    CloseCode.REVOKED: HandshakeOutcome.REVOKED,
    CloseCode.PROTOCOL_ERROR: HandshakeOutcome.MALFORMED,
    CloseCode.TICKET_EXPIRED: HandshakeOutcome.TICKET_EXPIRED,
    CloseCode.HANDSHAKE_FAILED: HandshakeOutcome.FAILED,
    CloseCode.UNSUPPORTED_VERSION: HandshakeOutcome.UNSUPPORTED_VERSION,
    CloseCode.BAD_HELLO: HandshakeOutcome.BAD_HELLO,
    CloseCode.UNSUPPORTED_HANDSHAKE: HandshakeOutcome.UNSUPPORTED_HANDSHAKE,
}
"""The outcome of a handshake that was closed with one of our codes."""

HOSTILE_CLOSE_CODES: Final[dict[int, Hostility]] = {
    1002: Hostility.BAD_FRAME,
    1003: Hostility.BAD_FRAME,
    1007: Hostility.BAD_FRAME,
    1008: Hostility.FRAGMENTS,
    1009: Hostility.GIANT_FRAME,
    CloseCode.SLOW_CONSUMER.value: Hostility.SLOW_READER,
    CloseCode.PROTOCOL_ERROR.value: Hostility.GARBAGE,
    CloseCode.ABUSE.value: Hostility.FLOOD,
}
"""What a peer did whose established connection the node closed with this code."""

_PROTOCOL_ERROR: Final = 1002


def hostility_of_fault(fault: PeerFault) -> Hostility | None:
    """Return what the peer did, or None for what happens to honest peers too, such as an old ticket."""
    if isinstance(fault, TlsFault):
        return Hostility.BAD_TLS
    if fault.close_code is CloseCode.SLOW_CONSUMER:
        # A full outbox does not raise: it is counted as SLOW_READER where it overflows. This is the other case.
        return Hostility.UNREAD_ANSWERS
    return HOSTILE_CLOSE_CODES.get(fault.close_code)


def hostility_of_frame(close_code: int, first_byte: int) -> Hostility:
    """Return what was wrong with a frame that begins with this byte and is answered with this code of RFC 6455."""
    if close_code == _PROTOCOL_ERROR and first_byte & RESERVED_BITS:
        return Hostility.RESERVED_BITS
    return HOSTILE_CLOSE_CODES.get(close_code, Hostility.BAD_FRAME)
