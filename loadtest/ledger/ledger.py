"""The ledger of one worker process: every message, latency, connection and request that its users report.

The payload of each message is ciphertext of the size that was asked for, with a stamp inside that says what it is.
"""

import os
import struct
from bisect import bisect_right
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from msgspec import Struct

from loadtest.ledger.reports import Arrivals, OperationSums, Report, StageSums, Stream, Totals, merge_counts, write
from loadtest.ledger.run_time import RunClock
from varde_contract.envelope import ENVELOPE_VERSION, Cipher

# Gaps that account for a delivery. `own` is none, and what was `delivered` has been received: else it is lost.
_EXCUSES: Final = frozenset({"before-you", "expired"})
_ALWAYS: Final = -(1 << 62)
# What a nonce begins with: of random bytes, a relay would take one message in 256 for a membership statement.
_HEAD: Final = bytes((ENVELOPE_VERSION, Cipher.OLM))
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_STAMP: Final = struct.Struct("!QIIIqq")
LEAST_BYTES: Final = _NONCE_BYTES + _STAMP.size + _TAG_BYTES  # the smallest payload: 64 bytes


class Stamp(NamedTuple):
    """What a payload says of itself. `seq` counts the messages of one sender in one room, from 1."""

    run: int
    sender: int
    room: int
    seq: int
    intended_ns: int
    sent_ns: int


class PayloadCipher:
    """Writes and reads payloads. `run` is a number of the run's own (64 bits): backlogs may hold another run's."""

    def __init__(self, key: bytes, run: int = 0) -> None:
        cipher = ChaCha20Poly1305(key)
        self._encrypt, self._decrypt = cipher.encrypt, cipher.decrypt
        self.run = run

    def write(self, sender: int, room: int, seq: int, intended_ns: int, sent_ns: int, size: int) -> bytes:
        """Return `size` bytes: nonce, encrypted stamp and filling, tag. ValueError below LEAST_BYTES."""
        if size < LEAST_BYTES:
            raise ValueError(f"a payload has at least {LEAST_BYTES} bytes")
        stamp = _STAMP.pack(self.run, sender, room, seq, intended_ns, sent_ns)
        nonce = _HEAD + os.urandom(_NONCE_BYTES - len(_HEAD))
        return nonce + self._encrypt(nonce, stamp + bytes(size - LEAST_BYTES), None)

    def read(self, ciphertext: bytes) -> Stamp | None:
        """Return the stamp, or None when one bit of the payload is not as it was written."""
        if len(ciphertext) < LEAST_BYTES:
            return None
        try:
            opened = self._decrypt(ciphertext[:_NONCE_BYTES], ciphertext[_NONCE_BYTES:], None)
        except InvalidTag:
            return None
        return Stamp._make(_STAMP.unpack_from(opened))


class Draft(NamedTuple):
    """A message to be sent: its number in the stream of its sender and room, and its ciphertext."""

    seq: int
    payload: bytes


_Pending = tuple[int, int]  # when a message was due and when it was sent, while the server has not answered for it


class _Stream(Struct):
    sent: int
    pending: dict[int, _Pending]
    refused: list[int]  # nobody is to receive these


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
        self._begun = [(_ALWAYS, 0)]  # when stages began, and which; before any is opened, everything belongs to 0
        self._streams: dict[tuple[int, int], _Stream] = {}
        self._highest: dict[tuple[int, int, int], int] = {}  # by receiver, room, sender
        self._irregular: dict[tuple[int, int, int], _Irregular] = {}
        self._attending: dict[int, int] = {}
        self._absent: set[int] = set()
        self._excused: dict[tuple[int, int], int] = {}
        self._second, self._before = Totals(), Totals()  # since the last tick, and before it

    def open_stage(self, index: int, began_ns: int) -> None:
        """Begin a stage, best announced before it begins. `index` is its place in `Plan.stages`."""
        others = (each for each in self._begun if each[1] != index)
        self._begun = sorted((*others, (began_ns if index else _ALWAYS, index)))

    def _stage_at(self, ns: int) -> StageSums:
        """Return the stage of a time. A latency belongs to the one in which its message was due."""
        began_ns, index = self._begun[-1]
        if ns < began_ns:
            index = self._begun[max(0, bisect_right(self._begun, ns, key=lambda each: each[0]) - 1)][1]
        stages = self._second.stages
        if (found := stages.get(index)) is None:
            found = stages[index] = StageSums()
        return found

    def draw(self, sender: int, room: int, intended_ns: int, size: int, due: int) -> Draft:
        """Return the sender's next message, counted as sent now. `due`: how many devices are to receive it."""
        now_ns = self._now()
        stream = self._streams.get((sender, room))
        if stream is None:
            stream = self._streams[sender, room] = _Stream(0, {}, [])
        stream.sent = seq = stream.sent + 1
        stream.pending[seq] = intended_ns, now_ns
        self._second.pending += 1
        stage = self._stage_at(intended_ns)
        stage.sent += 1
        stage.due += due
        return Draft(seq, self._cipher.write(sender, room, seq, intended_ns, now_ns, size))

    def _answer(self, sender: int, room: int, seq: int) -> _Pending | None:
        """Return the message that was answered for; None when there was none, or it had been already."""
        stream = self._streams.get((sender, room))
        found = stream.pending.pop(seq, None) if stream is not None else None
        self._second.pending -= found is not None
        return found

    def ack(self, sender: int, room: int, seq: int) -> None:
        """The server has taken the message over. A second ack of the same message counts for nothing."""
        pending = self._answer(sender, room, seq)
        if pending is None:
            return
        now_ns, (intended_ns, sent_ns) = self._now(), pending
        stage = self._stage_at(intended_ns)
        stage.send_to_ack.record(now_ns - intended_ns)
        stage.raw_send_to_ack.record(now_ns - sent_ns)
        self._stage_at(now_ns).acked_within += 1

    def refuse(self, sender: int, room: int, seq: int, code: str) -> None:
        """The server has not taken the message, and nobody is to receive it."""
        pending = self._answer(sender, room, seq)
        if pending is None:
            return
        self._streams[sender, room].refused.append(seq)
        self._stage_at(pending[0]).refused += 1
        merge_counts(self._second.refusals, {code: 1})

    def resend(self, sender: int, room: int, seq: int) -> None:  # noqa: ARG002 - which it was makes no difference
        """The message was sent again, with the same client id, after its connection was lost."""
        self._second.resent += 1

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
            self._second.undecryptable += 1
        elif stamp.run != self._cipher.run:
            self._second.earlier += 1
        elif stamp.room != room or stamp.sender == receiver:
            self._second.astray += 1
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
        stage = self._stage_at(intended_ns)
        stage.received += 1
        self._stage_at(now_ns).received_within += 1
        attended_ns = self._attending.get(receiver)
        if attended_ns is not None and intended_ns < attended_ns:
            self._stage_at(attended_ns).backlog.record(now_ns - attended_ns)
            return
        stage.send_to_receive.record(now_ns - intended_ns)
        stage.raw_send_to_receive.record(now_ns - sent_ns)

    def gap(self, receiver: int, room: int, count: int, why: str) -> None:
        """The server said that so many numbers, not told before, cannot be had by this receiver."""
        merge_counts(self._second.gaps, {why: count})
        if why in _EXCUSES:
            self._excused[receiver, room] = self._excused.get((receiver, room), 0) + count

    def connected(self, took_ns: int, again: bool) -> None:  # noqa: FBT001 - one plain fact, named where it is told
        """A connection reached Welcome, `took_ns` after its first SYN; `again`: its user had one before."""
        self._stage_at(self._now()).connect.record(took_ns)
        self._second.reconnects += again
        self._second.connected += 1

    def connect_failed(self, why: str) -> None:
        """An attempt to connect ended before Welcome."""
        merge_counts(self._second.connect_faults, {why: 1})

    def closed(self, code: str) -> None:
        """A connection that had been `connected` ended, by a close code or a word: `reset`, `timeout`, ..."""
        self._second.connected -= 1
        merge_counts(self._second.close_codes, {code: 1})

    def request_due(self) -> None:
        """A request fell due; `request` is to tell how it ended."""
        self._second.pending += 1

    def request(self, name: str, intended_ns: int, sent_ns: int, failure: str | None) -> None:
        """A request was answered or given up just now. Failures are timed too: somebody waited for them."""
        now_ns = self._now()
        stage = self._stage_at(intended_ns)
        stage.request.record(now_ns - intended_ns)
        stage.raw_request.record(now_ns - sent_ns)
        operation = stage.operations.setdefault(name, OperationSums())
        operation.latency.record(now_ns - intended_ns)
        if failure is not None:
            stage.failures += 1
            merge_counts(operation.failures, {failure: 1})
        self._stage_at(now_ns).requests_within += 1
        self._second.pending -= 1

    @property
    def pending(self) -> int:
        """Messages and requests that the server has not answered for."""
        return self._before.pending + self._second.pending

    def tick(self) -> bytes:
        """Return the `Totals` of what happened since the last tick."""
        second, self._second = self._second, Totals()
        self._before.merge(second)
        return write(second)

    def report(self) -> bytes:
        """Return everything, for `reconcile`."""
        totals = Totals()
        for each in (self._before, self._second):
            totals.merge(each)
        report = Report(
            streams=tuple(
                Stream(sender, room, stream.sent, tuple(sorted(stream.refused)), tuple(stream.pending))
                for (sender, room), stream in self._streams.items()
            ),
            arrivals=tuple(self._arrivals(key, highest) for key, highest in self._highest.items()),
            excused=self._excused,
            attending=tuple(self._attending),
            absent=tuple(self._absent),
            totals=totals,
        )
        return write(report)

    def _arrivals(self, key: tuple[int, int, int], highest: int) -> Arrivals:
        odd = self._irregular.get(key)
        if odd is None:
            return Arrivals(*key, highest)
        return Arrivals(*key, highest, tuple(sorted(odd.holes)), odd.duplicated, odd.disordered)
