"""Texts, and texts in the reasons of close frames (RFC 6455 sections 5.6, 8.1 and 7.4.1: 1003 and 1007)."""

from typing import Final

from tests.conformance.case import Case, ends
from tests.conformance.frames import Probe, cont, fragments, ping, text

NOT_UTF8: Final = {
    "a lone continuation byte": b"\x80",
    "a lead byte alone": b"\xc3",
    "an overlong slash": b"\xc0\xaf",
    "an overlong slash in three bytes": b"\xe0\x80\xaf",
    "an overlong zero": b"\xc0\x80",
    "a surrogate": b"\xed\xa0\x80",
    "a pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
    "more than U+10FFFF": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "a byte that is never used": b"hei\xff",
    "the end within a character": "blåbær €".encode()[:-1],
}
UTF8: Final = {
    "no bytes": b"",
    "letters": b"hei",
    "more letters": "κόσμε".encode(),
    "a zero": b"\x00",
    "U+10FFFF": "\U0010ffff".encode(),
    "a character that is none": "\ufffe\uffff".encode(),
    "sixty-five thousand letters": b"a" * 65_535,
}

CASES: Final[tuple[Case, ...]] = (
    *(ends(f"a text of {name}", "5.6", 1003, text(content)) for name, content in UTF8.items()),
    # Nobody decodes a text that is refused anyway, so 1007 may be told or not.
    *(ends(f"a text of {name}", "8.1", {1003, 1007}, text(content)) for name, content in NOT_UTF8.items()),
    ends("a text that is a question", "5.6", 1003, text().but(payload=Probe())),
    ends("a text in two frames", "5.6", 1003, text(b"he", fin=False), after=[cont(b"i")]),
    ends("a text that begins with nothing", "5.6", 1003, text(fin=False), after=[cont(b"hei")]),
    ends("a text with a character in two frames", "5.6", 1003, text(b"\xc3", fin=False), after=[cont(b"\xa5")]),
    ends("a text after a ping", "5.6", 1003, ping(b"a"), text(b"hei")),
    ends("a text after a fragmented message", "5.6", 1003, *fragments(*Probe().pieces(2)), text(b"hei")),
)
