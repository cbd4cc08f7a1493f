"""The ledger of one worker process: every message, latency, connection and request that its users report."""

from bisect import bisect_right
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from loadtest.ledger.clock import RunClock
from loadtest.ledger.payload import PayloadCipher
from loadtest.ledger.reports import Arrivals, OperationSums, Report, StageSums, Stream, Tick, Totals, write

_EXCUSES: Final = frozenset({"before-you", "expired"})
"""Gaps that account for a delivery. `own` is none, and what was `delivered` has been received: else it is lost."""
_ALWAYS: Final = -(1 << 62)
_MOST_WORDS: Final = 64
_MOST_LETTERS: Final = 64


class Draft(NamedTuple):
    """A message to be sent: its number in the stream of its sender and room, and its ciphertext."""

    seq: int
    payload: bytes


_Pending = tuple[int, int]  # when a message was due and when it was sent, while the server has not answered for it


class _Stream(Struct):
    sent: int
    pending: dict[int, _Pending]
    refused: list[int]


class _Irregular(Struct):
    """Of what came to one receiver. Apart, because hardly any stream has one and there may be a million streams."""

    holes: set[int]
    duplicated: int = 0
    disordered: int = 0


class Ledger:
    """What the users of a worker report. Seats and rooms are numbers of the crowd; times are of the run's clock."""

    def __init__(self, clock: RunClock, cipher: PayloadCipher) -> None:
        self._now = clock.now_ns
        self._cipher = cipher
        self._stages = _Stages()
        self._streams: dict[tuple[int, int], _Stream] = {}
        self._unanswered = 0
        self._highest: dict[tuple[int, int, int], int] = {}  # by receiver, room, sender
        self._irregular: dict[tuple[int, int, int], _Irregular] = {}
        self._attending: dict[int, int] = {}
        self._absent: set[int] = set()
        self._excused: dict[tuple[int, int], int] = {}
        self._tick, self._ticks = Tick(), Tick()  # since the last tick, and before it
        self.under_way = 0
        """Requests that fell due and have not been told of with `request`; whoever makes them counts here."""
        self._totals = Totals()

    def open_stage(self, index: int, began_ns: int) -> None:
        """Begin a stage, best announced before it begins. Indices are places in `Plan.stages`."""
        self._stages.open(index, began_ns)

    def draw(self, sender: int, room: int, intended_ns: int, size: int, due: int) -> Draft:
        """Return the sender's next message, counted as sent now. `due`: how many devices are to receive it."""
        now_ns = self._now()
        stream = self._streams.get((sender, room))
        if stream is None:
            stream = self._streams[sender, room] = _Stream(0, {}, [])
        stream.sent = seq = stream.sent + 1
        stream.pending[seq] = intended_ns, now_ns
        self._unanswered += 1
        self._stages.at(intended_ns).sent += 1
        self._tick.sent += 1
        self._tick.due += due
        return Draft(seq, self._cipher.write(sender, room, seq, intended_ns, now_ns, size))

    def _answer(self, sender: int, room: int, seq: int) -> _Pending | None:
        """Return the message that was answered for; None when there was none, or it had been already."""
        stream = self._streams.get((sender, room))
        found = stream.pending.pop(seq, None) if stream is not None else None
        self._unanswered -= found is not None
        return found

    def ack(self, sender: int, room: int, seq: int) -> None:
        """The server has taken the message over. A second ack of the same message counts for nothing."""
        pending = self._answer(sender, room, seq)
        if pending is None:
            return
        now_ns, (intended_ns, sent_ns) = self._now(), pending
        took_ns = now_ns - intended_ns
        stage = self._stages.at(intended_ns)
        stage.acked += 1
        stage.ack.record(took_ns)
        stage.raw_ack.record(now_ns - sent_ns)
        self._stages.at(now_ns).acked_within += 1
        self._tick.acked += 1
        self._tick.ack.record(took_ns)

    def refuse(self, sender: int, room: int, seq: int, code: str) -> None:
        """The server has not taken the message, and nobody is to receive it."""
        pending = self._answer(sender, room, seq)
        if pending is None:
            return
        self._streams[sender, room].refused.append(seq)
        self._stages.at(pending[0]).refused += 1
        self._tick.refused += 1
        count_word(self._totals.refusals, code)

    def resend(self, sender: int, room: int, seq: int) -> None:  # noqa: ARG002 - which it was makes no difference
        """The message was sent again, with the same client id, after its connection was lost."""
        self._tick.resent += 1

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
        stamp = self._cipher.read(ciphertext)
        if stamp is None:
            self._tick.undecryptable += 1
        elif stamp.run != self._cipher.run:
            self._tick.earlier += 1
        elif stamp.room != room or stamp.sender == receiver:
            self._tick.astray += 1
        elif self._is_new((receiver, room, stamp.sender), stamp.seq):
            self._time_receipt(receiver, stamp.intended_ns, stamp.sent_ns)

    def _is_new(self, key: tuple[int, int, int], seq: int) -> bool:
        """Record one message. Whether it came for the first time."""
        highest = self._highest.get(key, 0)
        if seq == highest + 1:
            self._highest[key] = seq
            return True
        irregular = self._irregular.setdefault(key, _Irregular(set()))
        if seq > highest:
            irregular.holes.update(range(highest + 1, seq))
            self._highest[key] = seq
        elif seq in irregular.holes:
            irregular.holes.remove(seq)
            irregular.disordered += 1
        else:
            irregular.duplicated += 1
            return False
        return True

    def _time_receipt(self, receiver: int, intended_ns: int, sent_ns: int) -> None:
        now_ns = self._now()
        stage = self._stages.at(intended_ns)
        stage.received += 1
        self._stages.at(now_ns).received_within += 1
        self._tick.received += 1
        attended_ns = self._attending.get(receiver)
        if attended_ns is not None and intended_ns < attended_ns:
            self._stages.at(attended_ns).backlog.record(now_ns - attended_ns)
            return
        took_ns = now_ns - intended_ns
        stage.receive.record(took_ns)
        stage.raw_receive.record(now_ns - sent_ns)
        self._tick.receive.record(took_ns)
        self._tick.raw.record(now_ns - sent_ns)

    def gap(self, receiver: int, room: int, count: int, why: str) -> None:
        """The server said that so many numbers, not told before, cannot be had by this receiver."""
        count_word(self._totals.gaps, why, count)
        if why in _EXCUSES:
            self._excused[receiver, room] = self._excused.get((receiver, room), 0) + count

    def connected(self, took_ns: int, again: bool) -> None:  # noqa: FBT001 - one plain fact, named where it is told
        """A connection reached Welcome, `took_ns` after its first SYN; `again`: its user had one before."""
        self._stages.at(self._now()).connect.record(took_ns)
        self._tick.connects += 1
        self._tick.reconnects += again
        self._tick.connected += 1

    def connect_failed(self, why: str) -> None:
        """An attempt to connect ended before Welcome."""
        self._tick.failed += 1
        count_word(self._totals.connect_faults, why)

    def closed(self, code: str) -> None:
        """A connection that had been `connected` ended, by a close code or a word: `reset`, `timeout`, ..."""
        self._tick.closed += 1
        self._tick.connected -= 1
        count_word(self._totals.close_codes, code)

    def request(self, name: str, intended_ns: int, sent_ns: int, failure: str | None) -> None:
        """A request was answered or given up just now. Failures are timed too: somebody waited for them."""
        now_ns = self._now()
        took_ns = now_ns - intended_ns
        operation = self._stages.at(intended_ns).operations.setdefault(name, OperationSums())
        operation.corrected.record(took_ns)
        operation.raw.record(now_ns - sent_ns)
        if failure is not None:
            count_word(operation.failures, failure)
        self._stages.at(now_ns).requests_within += 1
        self._tick.requests += 1
        self._tick.failures += failure is not None
        self._tick.request.record(took_ns)
        self._tick.raw.record(now_ns - sent_ns)

    @property
    def pending(self) -> int:
        """Messages and requests that the server has not answered for."""
        return self._unanswered + self.under_way

    def tick(self) -> bytes:
        """Return what happened since the last tick, for `merge_ticks`."""
        tick = self._tick
        tick.at_ns, tick.pending = self._now(), self.pending
        self._ticks.then(tick)
        self._tick = Tick(connected=tick.connected)
        return write(tick)

    def report(self) -> bytes:
        """Return everything, for `reconcile`."""
        ticks = Tick()
        ticks.merge(self._ticks)
        ticks.merge(self._tick)
        ticks.at_ns = ticks.connected = ticks.pending = 0  # of an end of a second, and no sum
        report = Report(
            streams=tuple(
                Stream(sender, room, stream.sent, tuple(sorted(stream.refused)), tuple(stream.pending))
                for (sender, room), stream in self._streams.items()
            ),
            arrivals=tuple(self._arrivals(key, highest) for key, highest in self._highest.items()),
            excused=self._excused,
            attending=tuple(self._attending),
            absent=tuple(self._absent),
            totals=replace(self._totals, ticks=ticks, stages=self._stages.all(), unanswered=self.under_way),
        )
        return write(report)

    def _arrivals(self, key: tuple[int, int, int], highest: int) -> Arrivals:
        odd = self._irregular.get(key)
        if odd is None:
            return Arrivals(*key, highest)
        return Arrivals(*key, highest, tuple(sorted(odd.holes)), odd.duplicated, odd.disordered)


class _Stages:
    """The stages so far, in the order of their beginnings. A latency belongs to the one in which its message was due.

    Before any is opened, everything belongs to stage 0.
    """

    def __init__(self) -> None:
        self._begun: list[tuple[int, int, StageSums]] = [(_ALWAYS, 0, StageSums())]
        self._last_ns, self._last = _ALWAYS, self._begun[0][2]

    def open(self, index: int, began_ns: int) -> None:
        """Begin a stage. What was recorded before it was announced, and is due in it, stays where it was recorded."""
        sums = next((sums for _, known, sums in self._begun if known == index), StageSums())
        others = [each for each in self._begun if each[1] != index]
        self._begun = sorted((*others, (began_ns if index else _ALWAYS, index, sums)), key=lambda each: each[0])
        self._last_ns, _, self._last = self._begun[-1]

    def at(self, ns: int) -> StageSums:
        """Return the stage of a time."""
        if ns >= self._last_ns:
            return self._last
        return self._begun[max(0, bisect_right(self._begun, ns, key=lambda each: each[0]) - 1)][2]

    def all(self) -> dict[int, StageSums]:
        """Return all stages by their indices."""
        return {index: sums for _, index, sums in self._begun}


def count_word(counts: dict[str, int], word: str, count: int = 1) -> None:
    """Count a word that may come from outside: beyond 64 different ones, and longer than 64 letters, as `other`."""
    if len(word) > _MOST_LETTERS or (word not in counts and len(counts) >= _MOST_WORDS):
        word = "other"
    counts[word] = counts.get(word, 0) + count
