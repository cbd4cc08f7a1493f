"""From what went wrong with a connection to the word it is counted by."""

from relay.metrics.words import HOSTILE_ENDS, Hostility
from relay.socket.framing import RESERVED_BITS
from relay.socket.tls import TlsFault
from varde_contract.closing import CloseCode
from varde_contract.errors import PeerFault

_PROTOCOL_ERROR = 1002


def hostility_of(fault: PeerFault) -> Hostility | None:
    """Say what a peer did that led to this fault; None for what happens to honest ones, such as an old ticket."""
    if isinstance(fault, TlsFault):
        return Hostility.BAD_TLS
    if fault.close_code is CloseCode.SLOW_CONSUMER:
        return Hostility.UNREAD_ANSWERS  # a full outbox is no fault: nobody reads in vain there
    return HOSTILE_ENDS.get(fault.close_code)


def hostility_in(code: int, first_byte: int) -> Hostility:
    """Say what was wrong with a frame that begins with this byte and is answered with this code of RFC 6455."""
    if code == _PROTOCOL_ERROR and first_byte & RESERVED_BITS:
        return Hostility.RESERVED_BITS
    return HOSTILE_ENDS.get(code, Hostility.BAD_FRAME)
