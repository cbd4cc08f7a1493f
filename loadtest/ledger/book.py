"""The book of one worker process: every message, latency, connection and request that its users report."""

from collections.abc import Callable
from typing import NamedTuple

from loadtest.ledger.clock import RunClock
from loadtest.ledger.incoming import Incoming
from loadtest.ledger.outgoing import Outgoing, Pending
from loadtest.ledger.pages import ReportPage, write_page
from loadtest.ledger.seal import PayloadSeal
from loadtest.ledger.second import Second
from loadtest.ledger.stages import Stages
from loadtest.ledger.tally import count_word

_EXCUSES = frozenset({"before-you", "expired"})
"""Gaps that account for a delivery. `own` is none, and what was `delivered` has been received: else it is lost."""


class Draft(NamedTuple):
    """A message to be sent: its number in the stream of its sender and room, and its ciphertext."""

    seq: int
    payload: bytes


class Book:
    """What the users of a worker report. Seats and rooms are numbers of the crowd; times are of the run's clock."""

    def __init__(self, clock: RunClock, seal: PayloadSeal) -> None:
        self._now: Callable[[], int] = clock.now_ns
        self._seal = seal
        self._stages = Stages()
        self._outgoing, self._incoming = Outgoing(), Incoming()
        self._attending: dict[int, int] = {}
        self._absent: set[int] = set()
        self._excused: dict[tuple[int, int], int] = {}
        self._second = Second()
        self.under_way = 0
        """Requests that fell due and have not been told of with `request`; whoever makes them counts here."""
        self._undecryptable = self._astray = self._earlier = 0
        self._close_codes: dict[str, int] = {}
        self._connect_faults: dict[str, int] = {}
        self._refusals: dict[str, int] = {}
        self._gaps: dict[str, int] = {}

    def open_stage(self, index: int, began_ns: int) -> None:
        """Begin a stage, best announced before it begins. Indices are places in `Plan.stages`."""
        self._stages.open_stage(index, began_ns)

    def draw(self, sender: int, room: int, intended_ns: int, size: int, due: int) -> Draft:
        """Return the sender's next message, counted as sent now. `due`: how many devices are to receive it."""
        now_ns = self._now()
        seq = self._outgoing.draw(sender, room, Pending(intended_ns, now_ns))
        self._stages.at(intended_ns).sent += 1
        self._second.page.sent += 1
        self._second.page.due += due
        return Draft(seq, self._seal.write(sender, room, seq, intended_ns, now_ns, size))

    def ack(self, sender: int, room: int, seq: int) -> None:
        """The server has taken the message over. A second ack of the same message counts for nothing."""
        pending = self._outgoing.ack(sender, room, seq)
        if pending is None:
            return
        now_ns = self._now()
        took_ns = now_ns - pending.intended_ns
        stage = self._stages.at(pending.intended_ns)
        stage.acked += 1
        stage.ack.record(took_ns)
        stage.raw_ack.record(now_ns - pending.sent_ns)
        self._stages.at(now_ns).acked_within += 1
        self._second.page.acked += 1
        self._second.ack.record(took_ns)

    def refuse(self, sender: int, room: int, seq: int, code: str) -> None:
        """The server has not taken the message, and nobody is to receive it."""
        pending = self._outgoing.refuse(sender, room, seq)
        if pending is None:
            return
        self._stages.at(pending.intended_ns).refused += 1
        self._second.page.refused += 1
        count_word(self._refusals, code)

    def resend(self, sender: int, room: int, seq: int) -> None:  # noqa: ARG002 - which it was makes no difference
        """The message was said again, with the same client id, after its connection was lost."""
        self._second.page.resent += 1

    def attend(self, receiver: int) -> None:
        """From now on this receiver wants everything, and it is the server's task to get it there: told when a user
        begins to connect of its own will, not when it comes back after its connection was cut.

        What was due before is its backlog, timed from now.
        """
        self._attending.setdefault(receiver, self._now())
        self._absent.discard(receiver)

    def leave(self, receiver: int) -> None:
        """This receiver goes of its own will, or reads no more: what does not come to it now is not lost."""
        if self._attending.pop(receiver, None) is not None:
            self._absent.add(receiver)

    def receive(self, receiver: int, room: int, ciphertext: bytes) -> None:
        """A message came. Not told: what a new connection was told again of numbers that it had already."""
        stamp = self._seal.read(ciphertext)
        if stamp is None:
            self._undecryptable += 1
        elif stamp.run != self._seal.run:
            self._earlier += 1
        elif stamp.room != room or stamp.sender == receiver:
            self._astray += 1
        elif self._incoming.receive(receiver, room, stamp.sender, stamp.seq):
            self._time_receipt(receiver, stamp.intended_ns, stamp.sent_ns)

    def _time_receipt(self, receiver: int, intended_ns: int, sent_ns: int) -> None:
        now_ns = self._now()
        stage = self._stages.at(intended_ns)
        stage.received += 1
        self._stages.at(now_ns).received_within += 1
        self._second.page.received += 1
        attended_ns = self._attending.get(receiver)
        if attended_ns is not None and intended_ns < attended_ns:
            self._stages.at(attended_ns).backlog.record(now_ns - attended_ns)
            return
        took_ns = now_ns - intended_ns
        stage.receive.record(took_ns)
        stage.raw_receive.record(now_ns - sent_ns)
        self._second.receive.record(took_ns)
        self._second.raw.record(now_ns - sent_ns)

    def gap(self, receiver: int, room: int, count: int, why: str) -> None:
        """The server said that so many numbers, not told before, cannot be had by this receiver."""
        count_word(self._gaps, why, count)
        if why in _EXCUSES:
            self._excused[receiver, room] = self._excused.get((receiver, room), 0) + count

    def connected(self, took_ns: int, again: bool) -> None:  # noqa: FBT001 - one plain fact, named where it is told
        """A connection reached Welcome, `took_ns` after its first SYN; `again`: its user had one before."""
        self._stages.at(self._now()).connect.record(took_ns)
        self._second.page.connects += 1
        self._second.page.reconnects += again
        self._second.page.connected += 1

    def connect_failed(self, why: str) -> None:
        """An attempt to connect ended before Welcome."""
        self._second.page.failed += 1
        count_word(self._connect_faults, why)

    def closed(self, code: str) -> None:
        """A connection that had been `connected` ended, by a close code or a word: `reset`, `timeout`, ..."""
        self._second.page.closed += 1
        self._second.page.connected -= 1
        count_word(self._close_codes, code)

    def request(self, name: str, intended_ns: int, sent_ns: int, failure: str | None) -> None:
        """A request was answered or given up just now. Failures are timed too: somebody waited for them."""
        now_ns = self._now()
        took_ns = now_ns - intended_ns
        self._stages.at(intended_ns).request(name, took_ns, now_ns - sent_ns, failure)
        self._stages.at(now_ns).requests_within += 1
        self._second.page.requests += 1
        self._second.page.failures += failure is not None
        self._second.request.record(took_ns)
        self._second.raw.record(now_ns - sent_ns)

    @property
    def settled_locally(self) -> bool:
        """Whether the server has answered for everything that was sent, or asked, from here."""
        return not self._pending

    @property
    def _pending(self) -> int:
        return self._outgoing.pending + self.under_way

    def tick(self) -> bytes:
        """Return what happened since the last tick, for `merge_ticks`."""
        return self._second.close(self._now(), self._pending)

    def report(self) -> bytes:
        """Return everything, for `settle`."""
        strange = {"undecryptable": self._undecryptable, "astray": self._astray, "earlier": self._earlier}
        strange["unanswered"] = self.under_way
        return write_page(
            ReportPage(
                streams=self._outgoing.pages(),
                arrivals=self._incoming.pages(),
                excused=tuple((receiver, room, count) for (receiver, room), count in self._excused.items()),
                attending=tuple(self._attending),
                absent=tuple(self._absent),
                stages=self._stages.pages(),
                counts=self._second.counts() | strange,
                close_codes=self._close_codes,
                connect_faults=self._connect_faults,
                refusals=self._refusals,
                gaps=self._gaps,
            )
        )
