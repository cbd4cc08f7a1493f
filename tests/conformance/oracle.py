"""What has to come of any bytes, by an independent judge: the `websockets` library as a server, fed with all at once.

What the library does not know, it is told from the protocol's page: binary messages of 65,535 bytes at most, each of
them a Noise message.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from tests.conformance.frame_reader import NO_CLOSE
from tests.conformance.raw_client import Sealed
from varde_contract.close_codes import CloseCode

MOST: Final = 65_535
_SILENT: Final = logging.getLogger("tests.conformance.oracle")
_SILENT.setLevel(logging.CRITICAL)


@dataclass
class Verdict:
    """`codes` are what the connection may end with; alone `NO_CLOSE` when it lives until the peer goes."""

    answered: list[UUID] = field(default_factory=list)
    pongs: list[bytes] = field(default_factory=list)
    codes: set[int] = field(default_factory=set)

    @property
    def lives(self) -> bool:
        """Whether the relay has nothing against any of it."""
        return self.codes == {NO_CLOSE}

    def allows(self, answered: list[UUID], pongs: list[bytes]) -> bool:
        """Whether that is what was due; when the connection had to end, the last of it may be missing."""
        if self.lives:
            return (answered, pongs) == (self.answered, self.pongs)
        return (answered, pongs) == (self.answered[: len(answered)], self.pongs[: len(pongs)])


def judge(sent: bytes, sealed: Sequence[Sealed]) -> Verdict:
    """Judge bytes, of which these messages are the good ones, in this order."""
    protocol = ServerProtocol(state=State.OPEN, max_size=(None, MOST), logger=_SILENT)
    protocol.receive_data(sent)
    verdict, due, fragments = Verdict(), list(sealed), b""
    for event in protocol.events_received():
        assert isinstance(event, Frame)
        if event.opcode is Opcode.PING:
            verdict.pongs.append(bytes(event.data))
        if verdict.codes or event.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            continue
        fragments = bytes(event.data) if event.opcode is not Opcode.CONT else fragments + bytes(event.data)
        _take(verdict, event, fragments, due)
    if protocol.close_sent is not None:
        # A message that is none of Noise and a fault behind it may come in one read: either may be told.
        verdict.codes |= {int(protocol.close_sent.code)} if verdict.codes <= {int(CloseCode.PROTOCOL_ERROR)} else set()
    verdict.codes = verdict.codes or {NO_CLOSE}
    return verdict


def _take(verdict: Verdict, frame: Frame, message: bytes, due: list[Sealed]) -> None:
    if frame.opcode is Opcode.TEXT:
        verdict.codes.add(1003)
    elif len(message) > MOST:
        verdict.codes.add(1009)
    elif frame.fin and due and message == due[0].message:
        verdict.answered += due.pop(0).ids
    elif frame.fin:
        verdict.codes.add(int(CloseCode.PROTOCOL_ERROR))
