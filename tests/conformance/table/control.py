"""Pings and pongs (RFC 6455 sections 5.5, 5.5.2 and 5.5.3)."""

from typing import Final

from tests.conformance.case import Case, ends, lives
from tests.conformance.frames import Probe, binary, cont, fragments, ping, pong

BYTES: Final = bytes(range(256))

CASES: Final[tuple[Case, ...]] = (
    *(lives(f"a ping with {size} bytes", "5.5.2", ping(BYTES[:size])) for size in (0, 1, 2, 3, 4, 5, 8, 124, 125)),
    lives("a ping with bytes that are no text", "5.5.2", ping(b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff")),
    ends("a ping with 126 bytes", "5.5", 1002, ping(BYTES[:126])),
    ends("a pong with 126 bytes", "5.5", 1002, pong(BYTES[:126])),
    ends("a ping with 65,535 bytes", "5.5", 1002, ping(bytes(65_535))),
    ends("a ping with 65,536 bytes", "5.5", {1002, 1009}, ping(bytes(65_536))),
    lives("a pong that nobody asked for", "5.5.3", pong()),
    lives("a pong with bytes that nobody asked for", "5.5.3", pong(b"unsolicited")),
    lives("a pong that nobody asked for, then a ping", "5.5.3", pong(b"unsolicited"), ping(b"solicited")),
    lives("pongs around a ping", "5.5.3", pong(b"a"), ping(b"b"), pong(b"c"), pong(b"d")),
    lives("ten pings", "5.5.2", *(ping(b"ping %d" % number) for number in range(10))),
    lives("ten pongs", "5.5.3", *(pong(b"pong %d" % number) for number in range(10))),
    lives("ten pings without bytes", "5.5.2", *(ping() for _ in range(10))),
    lives("pings between messages", "5.5", ping(b"1"), binary(Probe()), ping(b"2"), binary(Probe()), ping(b"3")),
    lives("a ping that looks like a message", "5.5.2", ping(binary(bytes(8)).encode(bytes(8)))),
    ends("a ping in two frames", "5.5", 1002, ping(b"a", fin=False), after=[cont(b"b")]),
    ends("a pong in two frames", "5.5", 1002, pong(b"a", fin=False), after=[cont(b"b")]),
    ends(
        "a ping in two frames within a message",
        "5.5",
        1002,
        *fragments(b"some", b"more")[:1],
        ping(b"a", fin=False),
        after=[cont(b"b"), cont(b"more")],
    ),
)
