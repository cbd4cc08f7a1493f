"""Every message accounted for: sent, acked, refused, received, duplicated, disordered, astray, missing; and timed.

A payload is 256 bytes of ASCII, so that all dialects carry the same: when it should have been sent (nanoseconds of the
monotonic clock), by whom, as which of theirs, and filling. Connections are partners in pairs: 0 and 1, 2 and 3, ...
"""

import time
from array import array
from typing import Final

from msgspec import Struct
from msgspec.structs import astuple

PAYLOAD_BYTES: Final = 256
_FILLING: Final = b"." * (PAYLOAD_BYTES - 32)


def partner_of(number: int) -> int:
    """Return who the messages of a connection go to."""
    return number ^ 1


def write_payload(intended_ns: int, sender: int, seq: int) -> bytes:
    """Return a payload; `seq` counts the messages of one sender, from 1."""
    return b"%016x%08x%08x%b" % (intended_ns, sender, seq, _FILLING)


class Account(Struct, frozen=True):
    """What became of all messages. `missing` were sent, not refused, and had not come when the waiting ended."""

    sent: int
    acked: int
    refused: int
    received: int
    duplicated: int
    disordered: int
    astray: int

    @property
    def missing(self) -> int:
        """Messages that are nowhere."""
        return self.sent - self.refused - self.received

    @property
    def unacked(self) -> int:
        """Messages that the server has not answered for."""
        return self.sent - self.refused - self.acked

    def since(self, before: "Account") -> "Account":
        """Return what became of the messages after an earlier account."""
        return Account(*(now - then for now, then in zip(astuple(self), astuple(before), strict=True)))

    @property
    def faultless(self) -> bool:
        """Whether every message that was not refused was acked and came once, in order."""
        return not (self.missing or self.unacked or self.duplicated or self.disordered or self.astray)


class Ledger:
    """The book of one run, for a number of connections.

    `latencies_ns` are of those that should have been sent within the window, in the order they came; `due_within`
    how many those are; `came_within` how many came while it was open, whenever they should have been sent.
    """

    def __init__(self, connections: int) -> None:
        self.open_window(0, 0)
        self._sent = [0] * connections
        self._acked = [0] * connections
        self._highest = [0] * connections  # by sender
        self._holes: dict[int, set[int]] = {}
        self._refused = self._received = self._duplicated = self._disordered = self._astray = 0

    def open_window(self, start_ns: int, end_ns: int) -> None:
        """Measure what should be sent from `start_ns` to `end_ns`, and forget what was measured before."""
        self._window = (start_ns, end_ns)
        self.latencies_ns = array("Q")
        self.came_within = self.due_within = 0

    def draw(self, sender: int, intended_ns: int) -> bytes:
        """Return the payload of the sender's next message, which is counted as sent."""
        self._sent[sender] = seq = self._sent[sender] + 1
        if self._window[0] <= intended_ns < self._window[1]:
            self.due_within += 1
        return write_payload(intended_ns, sender, seq)

    def ack(self, sender: int, count: int) -> None:
        """Count what the server took over."""
        self._acked[sender] += count

    def refuse(self, sender: int) -> None:  # noqa: ARG002 - who it was makes no difference to anything
        """Count what the server refused."""
        self._refused += 1

    def receive(self, receiver: int, payload: bytes) -> None:
        """Book a message that came."""
        now_ns = time.monotonic_ns()
        try:
            intended_ns, sender, seq = int(payload[:16], 16), int(payload[16:24], 16), int(payload[24:32], 16)
            meant = len(payload) == PAYLOAD_BYTES and receiver == partner_of(sender) and 0 < seq <= self._sent[sender]
        except (ValueError, IndexError):
            meant = False
        if not meant:
            self._astray += 1
        elif self._is_new(sender, seq):
            self._received += 1
            self._clock(intended_ns, now_ns)

    def _is_new(self, sender: int, seq: int) -> bool:
        highest = self._highest[sender]
        if seq > highest:
            if seq > highest + 1:
                self._holes.setdefault(sender, set()).update(range(highest + 1, seq))
            self._highest[sender] = seq
            return True
        holes = self._holes.get(sender, ())
        if seq in holes:
            self._holes[sender].remove(seq)
            self._disordered += 1
            return True
        self._duplicated += 1
        return False

    def _clock(self, intended_ns: int, now_ns: int) -> None:
        start_ns, end_ns = self._window
        if start_ns <= intended_ns < end_ns:
            self.latencies_ns.append(max(0, now_ns - intended_ns))
        if start_ns <= now_ns < end_ns:
            self.came_within += 1

    @property
    def settled(self) -> bool:
        """Whether nothing is under way any more."""
        return self._received + self._refused >= sum(self._sent) <= sum(self._acked) + self._refused

    def lost_after_ack(self) -> int:
        """Return how many messages were acked and have not come. Every server acks a sender's messages in order."""
        return sum(self._lost_of(sender, acked) for sender, acked in enumerate(self._acked))

    def _lost_of(self, sender: int, acked: int) -> int:
        acked = min(acked, self._sent[sender])
        holes = sum(seq <= acked for seq in self._holes.get(sender, ()))
        return holes + max(0, acked - self._highest[sender])

    def account(self) -> Account:
        """Return what became of all messages so far."""
        return Account(
            sent=sum(self._sent),
            # More acks than messages would hide others that are missing.
            acked=sum(map(min, self._acked, self._sent)),
            refused=self._refused,
            received=self._received,
            duplicated=self._duplicated,
            disordered=self._disordered,
            astray=self._astray,
        )
