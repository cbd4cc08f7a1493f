"""The opening handshake (RFC 6455 section 4.2, RFC 9112). Refuses what is no request for a WebSocket: see the tests of
the relay's HTTP face.
"""

from typing import Final

from tests.conformance.requests import KEY, Asking, asks, head

NAMES: Final = ("Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol")
MISSING: Final = {"Upgrade": 426, "Connection": 426}
"""Without these it is no request for a WebSocket at all, and the answer says what to ask for; otherwise it is 400."""

REQUESTS: Final[tuple[Asking, ...]] = (
    asks("a plain request", "4.2.1", 101, head()),
    asks("names in lower case", "4.2.1", 101, head().replace(b"Sec-WebSocket", b"sec-websocket")),
    asks("names in upper case", "4.2.1", 101, head().replace(b"Sec-WebSocket", b"SEC-WEBSOCKET")),
    asks("WebSocket with capitals", "4.2.1", 101, head(upgrade="WebSocket")),
    asks("upgrade in lower case", "4.2.1", 101, head(connection="upgrade")),
    asks("upgrade among other tokens", "4.2.1", 101, head(connection="keep-alive, Upgrade")),
    asks("upgrade in a second field", "4.2.1", 101, head(("Connection", "Upgrade"), connection="keep-alive")),
    asks("the same field twice", "4.2.1", 101, head(("Connection", "Upgrade"))),
    asks("spaces around a value", "4.2.1", 101, head(upgrade="  websocket \t")),
    asks("no space before a value", "4.2.1", 101, head().replace(b": ", b":")),
    asks("a query", "4.2.1", 101, head(line="GET /v1/relay?from=here HTTP/1.1")),
    asks("an origin", "10.2", 101, head(("Origin", "https://varde.example"))),
    asks("a body of no bytes", "4.2.1", 101, head(("Content-Length", "0"))),
    asks("cookies and credentials", "4.2.1", 101, head(("Cookie", "a=b"), ("Authorization", "Bearer c"))),
    asks("a hundred further fields", "10.4", 101, head(*((f"X-{number}", "y") for number in range(100)))),
    asks("a field of 8,000 bytes", "10.4", 101, head(("X-Long", "y" * 7_900))),
    asks("bytes beyond ASCII in a value", "RFC 9110 5.5", 101, head(("X-Name", "bl\xe5b\xe6r"))),
    asks("our subprotocol among others", "4.2.2", 101, head(sec_websocket_protocol="mqtt, varde.v1, chat")),
    asks("our subprotocol in a second field", "4.2.2", 101, head(("Sec-WebSocket-Protocol", "chat"))),
    asks("compression is offered", "9.1", 101, head(("Sec-WebSocket-Extensions", "permessage-deflate"))),
    asks(
        "compression is offered with all parameters",
        "9.1",
        101,
        head(("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits; server_no_context_takeover")),
    ),
    asks("unknown extensions are offered", "9.1", 101, head(("Sec-WebSocket-Extensions", "foo, bar; baz=2"))),
    asks("what is no list of extensions", "9.1", {101, 400}, head(("Sec-WebSocket-Extensions", ";;=,"))),
    *(asks(f"no {name}", "4.2.1", MISSING.get(name, 400), head(without=(name,))) for name in NAMES),
    asks("no Host", "4.2.1", 400, head(without=("Host",))),
    asks("two Hosts", "RFC 9112 3.2", 400, head(("Host", "elsewhere.test"))),
    *(asks(f"version {v}", "4.4", {400, 426}, head(sec_websocket_version=v)) for v in ("8", "0", "12", "14", "130")),
    asks("a version that is no number", "4.4", {400, 426}, head(sec_websocket_version="thirteen")),
    asks("two versions", "4.4", 400, head(("Sec-WebSocket-Version", "8"))),
    asks("an empty key", "4.2.1", 400, head(sec_websocket_key="")),
    asks("a key that is not base64", "4.2.1", 400, head(sec_websocket_key="!" * 24)),
    asks("a key of 15 bytes", "4.2.1", 400, head(sec_websocket_key="AAAAAAAAAAAAAAAAAAAA")),
    asks("a key of 17 bytes", "4.2.1", 400, head(sec_websocket_key="AAAAAAAAAAAAAAAAAAAAAAA=")),
    asks("a key beyond ASCII", "4.2.1", 400, head(sec_websocket_key="\xe5" * 24)),
    asks("two keys", "11.3.1", 400, head(("Sec-WebSocket-Key", KEY))),
    asks("another upgrade", "4.2.1", 426, head(upgrade="h2c")),
    asks("two tokens to upgrade to", "4.2.1", {101, 426}, head(upgrade="websocket, h2c")),
    asks("a connection that is only kept alive", "4.2.1", 426, head(connection="keep-alive")),
    asks("a token that begins like upgrade", "4.2.1", 426, head(connection="upgraded")),
    asks("only other subprotocols", "4.2.2", 400, head(sec_websocket_protocol="mqtt, chat")),
    asks("our subprotocol in capitals", "4.2.2", 400, head(sec_websocket_protocol="VARDE.V1")),
    asks("an empty subprotocol", "4.2.2", 400, head(sec_websocket_protocol="")),
    asks("two origins", "10.2", {101, 400}, head(("Origin", "https://a.example"), ("Origin", "https://b.example"))),
    *(
        asks(f"method {method}", "4.2.1", {400, 405}, head(line=f"{method} /v1/relay HTTP/1.1"))
        for method in ("POST", "HEAD", "OPTIONS", "CONNECT", "get")
    ),
    asks("HTTP/1.0", "4.2.1", {400, 505}, head(line="GET /v1/relay HTTP/1.0")),
    asks("HTTP/1.2", "4.2.1", {400, 505}, head(line="GET /v1/relay HTTP/1.2")),
    asks("HTTP/2.0", "4.2.1", {400, 505}, head(line="GET /v1/relay HTTP/2.0")),
    asks("the preface of HTTP/2", "4.2.1", {400, 505}, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    asks("no version of HTTP", "4.2.1", {400, 505}, head(line="GET /v1/relay")),
    asks("another path", "4.2.1", 404, head(line="GET /v1/elsewhere HTTP/1.1")),
    asks("a path that only begins like ours", "4.2.1", 404, head(line="GET /v1/relay/more HTTP/1.1")),
    asks("a path beyond ASCII", "RFC 9112 3.2", 400, head(line="GET /v1/rel\xe5y HTTP/1.1")),
    asks("a space within the path", "RFC 9112 3.2", 400, head(line="GET /v1/relay x HTTP/1.1")),
    asks("two spaces in the first line", "RFC 9112 3", 400, head(line="GET  /v1/relay HTTP/1.1")),
    asks("lines that end with LF alone", "RFC 9112 2.2", {101, 400}, head(end="\n")),
    asks("an empty line in front", "RFC 9112 2.2", {101, 400}, b"\r\n" + head()),
    asks("a folded line", "RFC 9112 5.2", 400, head(("X-Folded", "a\r\n b"))),
    asks("a space before a colon", "RFC 9112 5.1", 400, head(("X-Space ", "a"))),
    asks("a field without a colon", "RFC 9112 5", 400, head().replace(b"Host: ", b"Host ")),
    asks("a field without a name", "RFC 9112 5", 400, head(("", "a"))),
    asks("a zero within a value", "RFC 9110 5.5", 400, head(("X-Zero", "a\0b"))),
    asks("a CR within a value", "RFC 9110 5.5", 400, head(("X-CR", "a\rb"))),
    asks("a body that is announced", "4.2.1", 400, head(("Content-Length", "5"))),
    asks("a body in chunks", "4.2.1", 400, head(("Transfer-Encoding", "chunked"))),
    asks("a length that is no number", "RFC 9112 6.2", 400, head(("Content-Length", "five"))),
    asks("two different lengths", "RFC 9112 6.3", 400, head(("Content-Length", "0"), ("Content-Length", "5"))),
    asks("a field of 10,000 bytes", "10.4", {400, 431}, head(("X-Long", "y" * 10_000))),
    asks("a path of 10,000 bytes", "10.4", {400, 414}, head(line=f"GET /v1/relay?{'y' * 10_000} HTTP/1.1")),
    asks("a thousand further fields", "10.4", {400, 431}, head(*((f"X-{number}", "y") for number in range(1_000)))),
    asks("sixty-four kibibytes without a line", "10.4", {400, 414, 431}, b"y" * 65_536),
    asks("a hello of TLS", "10.6", 400, b"\x16\x03\x01\x00\x05hello\r\n\r\n"),
    asks("a WebSocket frame", "4.2.1", 400, b"\x82\x85\x37\xfa\x21\x3dhello\n\n"),
)
