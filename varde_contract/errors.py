"""The errors of the protocol: our own misuse, or the peer's fault. There is no third kind."""

from typing import Final

from varde_contract.close_codes import CloseCode

CLOSE_REASON_BYTES: Final = 123
"""RFC 6455 section 5.5: a control frame has at most 125 bytes, two of them the code. Our rules are ASCII."""


class LocalMisuse(Exception):
    """Our own code broke a rule of the protocol. It is a bug: let it crash the test."""


class PeerFault(Exception):
    """The peer sent what the protocol does not allow.

    `close_code` is what the connection is closed with; the text names the rule, never the content.
    """

    def __init__(self, rule: str, close_code: CloseCode = CloseCode.PROTOCOL_ERROR) -> None:
        super().__init__(rule)
        self.close_code = close_code

    @property
    def close_reason(self) -> str:
        """The label of the code, a colon and the rule: whoever writes a client reads what to look at."""
        return f"{self.close_code.label}: {self}"[:CLOSE_REASON_BYTES]


class NoiseMisuse(LocalMisuse):
    """We called out of turn, with the wrong keys, too much payload, after a failure, or past the last nonce."""


class NoiseFault(PeerFault):
    """The peer's bytes did not authenticate, were too short or too long, or held a key that leads to no secret."""

    def __init__(self, rule: str, close_code: CloseCode = CloseCode.HANDSHAKE_FAILED) -> None:
        super().__init__(rule, close_code)
