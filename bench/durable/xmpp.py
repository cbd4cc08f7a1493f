"""XMPP over WebSocket (RFC 7395) with stream management (XEP-0198), as much as a chatting client needs. Sans-I/O."""

import base64
import re
from typing import Final, NamedTuple

from bench.durable.dialect import Tally
from bench.durable.ledger import partner_of
from bench.durable.pipe import Pipe
from loadtest.client.websocket import ServerFault

HOST: Final = "localhost"
PASSWORD: Final = "of-the-benchmark"  # noqa: S105 - accounts of a server that lives for a minute, on loopback
OPEN: Final = f'<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" to="{HOST}" version="1.0"/>'.encode()
CLOSE: Final = b'<close xmlns="urn:ietf:params:xml:ns:xmpp-framing"/>'
BIND: Final = (
    b'<iq xmlns="jabber:client" type="set" id="bind"><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind">'
    b"<resource>bench</resource></bind></iq>"
)
ENABLE: Final = b'<enable xmlns="urn:xmpp:sm:3" resume="true"/>'
PRESENCE: Final = b'<presence xmlns="jabber:client"/>'
REQUEST: Final = b'<r xmlns="urn:xmpp:sm:3"/>'
COUNTED: Final = frozenset({b"message", b"presence", b"iq"})
"""What stream management counts: stanzas, and nothing else (XEP-0198 section 4)."""
_WORD: Final = re.compile(rb"^<(?:\?xml[^>]*\?>\s*<)?([a-z:]+)")
_COUNT: Final = re.compile(rb"\sh=['\"](\d+)['\"]")
_SHOWN: Final = 200


class Stanza(NamedTuple):
    """One element: its name without a prefix, its `h`, and the text of its body."""

    name: bytes
    handled: int | None
    body: bytes


def read_stanza(element: bytes) -> Stanza:
    """Read what a server said. Raises ServerFault for what is no element."""
    word = _WORD.match(element)
    if word is None:
        raise ServerFault("the server said something that is no element")
    name = word[1].rpartition(b":")[2]
    if name == b"message":
        return Stanza(name, None, element.partition(b"<body>")[2].partition(b"</body>")[0])
    count = _COUNT.search(element) if name == b"a" else None
    return Stanza(name, int(count[1]) if count else None, b"")


def account_name(number: int) -> str:
    """Return the local part of a connection's account."""
    return f"u{number}"


def auth_stanza(name: str, password: str) -> bytes:
    """Return SASL PLAIN (RFC 4616)."""
    said = base64.b64encode(b"\0" + name.encode() + b"\0" + password.encode())
    return b'<auth xmlns="urn:ietf:params:xml:ns:xmpp-sasl" mechanism="PLAIN">' + said + b"</auth>"


def message_stanza(to: str, number: int, body: bytes) -> bytes:
    """Return a chat message; the body is ASCII without markup."""
    head = f'<message xmlns="jabber:client" to="{to}@{HOST}" type="chat" id="{number:x}"><body>'
    return head.encode() + body + b"</body></message>"


class XmppDialect:
    """One client: it signs in, binds, enables stream management, shows itself, and chats with its partner.

    Every message is followed by a request for an ack. What the server asks to be acked, is acked at once.
    """

    __slots__ = ("_acked", "_heard", "_managed", "_number", "_pipe", "_said", "_signed_in", "_tally", "_to", "live")
    owes = False

    def __init__(self, number: int, pipe: Pipe, tally: Tally) -> None:
        self._number = number
        self._pipe = pipe
        self._tally = tally
        self._to = account_name(partner_of(number))
        self._signed_in = self._managed = False
        self._said = self._heard = self._acked = 0  # stanzas since stream management began
        self.live = False

    def open(self) -> bytes:
        """Return the upgrade."""
        return self._pipe.open()

    def feed(self, received: bytes) -> bytes:
        """Take what was received; return acks and what the sign-in asks for."""
        before = self._pipe.ready
        elements, reply = self._pipe.unwrap(received)
        if self._pipe.ready and not before:
            reply += self._pipe.wrap(OPEN)
        said = [self._hear(read_stanza(element), element) for element in elements]
        return reply + b"".join(self._pipe.wrap(each) for each in said if each)

    def send(self, payload: bytes) -> bytes:
        """Return the message, and the request for its ack."""
        self._said += 1
        return self._pipe.wrap(message_stanza(self._to, self._said, payload)) + self._pipe.wrap(REQUEST)

    def confirm(self) -> bytes:
        """Nothing is ever owed."""
        return b""

    def leave(self) -> bytes:
        """Close the stream, so that the server does not wait for it to be resumed."""
        return self._pipe.wrap(CLOSE)

    def _hear(self, stanza: Stanza, element: bytes) -> bytes:
        if not self._managed:
            return self._hear_sign_in(stanza.name, element)
        self._heard += stanza.name in COUNTED
        match stanza.name:
            case b"message":
                self._tally.receive(self._number, stanza.body)
            case b"r":
                return b'<a xmlns="urn:xmpp:sm:3" h="%d"/>' % self._heard
            case b"a" if stanza.handled is not None:
                self._count_acks(stanza.handled)
            case b"presence":
                self.live = True  # its own: before, what others send would have gone to the offline table
            case b"iq" | b"close":
                pass
            case _:
                raise ServerFault(f"the server said {element[:_SHOWN]!r}")
        return b""

    def _count_acks(self, count: int) -> None:
        if not self._acked <= count <= self._said:
            raise ServerFault("the server acks stanzas that were not sent")
        # The first is the presence.
        self._tally.ack(self._number, count - max(1, self._acked) if count else 0)
        self._acked = count

    def _hear_sign_in(self, name: bytes, element: bytes) -> bytes:
        match name:
            case b"open":
                return b""
            case b"features":
                return BIND if self._signed_in else auth_stanza(account_name(self._number), PASSWORD)
            case b"success":
                self._signed_in = True
                return OPEN
            case b"iq" if b"result" in element:
                return ENABLE
            case b"enabled":
                self._managed = True
                self._said = 1
                return PRESENCE
            case _:
                raise ServerFault(f"the server did not let a client in: {element[:_SHOWN]!r}")
