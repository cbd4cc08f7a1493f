"""The transcript: what each message says of the ones before it, written and compared.

Numbers prove that a relay holds nothing back between two of them, and it gives the numbers out itself. Counters and
digests are inside the encryption: whoever reorders, drops or forks is found out by the next message.
"""

import os
from typing import NamedTuple

from varde.events import Break
from varde.store.store import Store
from varde.store.transcript import Life, Missing
from varde_contract.envelope import (
    INCARNATION_BYTES,
    SEEN_MESSAGES,
    Envelope,
    Parts,
    SeenMessage,
    UnknownEnvelope,
)
from varde_contract.ids import ConversationId, DeviceId

INCARNATION = "incarnation"
"""The setting that holds the random name of this store's life."""


class Place(NamedTuple):
    """Where the next message of this device stands."""

    incarnation: bytes
    counter: int
    previous: bytes | None
    seen: tuple[SeenMessage, ...]
    parts: Parts | None


class Transcript:
    """The transcripts over the store. Runs inside a transaction of the caller."""

    def __init__(self, store: Store, own: DeviceId) -> None:
        self._store = store
        self._own = own

    def next(self, conversation: ConversationId, *, part: bool = False) -> Place:
        """Return the place of the next message. It is taken by the ack: what is sealed again has the same place."""
        life = Life(conversation, self._own, self._incarnation())
        head = self._store.transcript.head(life)
        seen = self._store.transcript.newest(conversation, self._own, SEEN_MESSAGES)
        if head is None:
            return Place(life.incarnation, 1, None, tuple(seen), Parts(1, 1) if part else None)
        counter, previous = head.counter + 1, self._store.transcript.digest(life, head.counter)
        parts = None
        if part or head.part:
            first = self._store.transcript.last_for_all(life, head.counter) + 1
            parts = Parts(first, counter if part else head.counter)
        return Place(life.incarnation, counter, previous, tuple(seen), parts)

    def start_incarnation(self) -> None:
        """Begin a new life: the store may have forgotten what was sent already."""
        self._store.settings.put(INCARNATION, os.urandom(INCARNATION_BYTES))

    def receive(self, seq: int, envelope: Envelope | UnknownEnvelope, digest: bytes) -> tuple[Break, ...]:
        """Compare a message with the ones before it, and note it. Returns each kind of break once."""
        life = Life(envelope.conversation, envelope.device, envelope.incarnation)
        breaks = [self._check_life(life), *self._check_counter(life, envelope.counter, envelope.parts)]
        if self._is_forked(life, envelope, digest):
            breaks.append(Break.FORKED)
        breaks += [self._check_seen(life.conversation, seen) for seen in envelope.seen]
        part = envelope.parts is not None and envelope.parts.last == envelope.counter
        self._store.transcript.add(life, envelope.counter, digest, seq, part=part)
        return tuple(dict.fromkeys(each for each in breaks if each is not None))

    def _check_life(self, life: Life) -> Break | None:
        # By number, not by time: an older life that speaks again after a newer one is a replay, or a second copy.
        latest = self._store.transcript.latest_life(life.conversation, life.device)
        if latest is None or latest == life:
            return None
        return Break.RESTORED if self._store.transcript.head(life) is None else Break.REORDERED

    def _check_counter(self, life: Life, counter: int, parts: Parts | None) -> list[Break | None]:
        head = self._store.transcript.head(life)
        if head is not None and counter <= head.counter:
            return [Break.REORDERED]
        return [self._check_missing(life, counter - 1, parts)]

    def _is_forked(self, life: Life, envelope: Envelope | UnknownEnvelope, digest: bytes) -> bool:
        same = self._store.transcript.digest(life, envelope.counter)
        before = self._store.transcript.digest(life, envelope.counter - 1)
        first = (envelope.counter == 1) is not (envelope.previous is None)
        parts = envelope.parts
        # Told by who was given it: a sender may say that a message was a part, to whom the server withheld it.
        if parts is not None and self._store.transcript.last_for_all(life, parts.last) >= parts.first:
            return True
        return first or same not in (None, digest) or before not in (None, envelope.previous)

    def _check_seen(self, conversation: ConversationId, seen: SeenMessage) -> Break | None:
        life = Life(conversation, seen.device, seen.incarnation)
        known = self._store.transcript.digest(life, seen.counter)
        if known is not None:
            return None if known == seen.digest else Break.FORKED
        # The ack of an own message may still be on its way when somebody has seen it.
        return None if seen.device == self._own else self._check_missing(life, seen.counter)

    def _check_missing(self, life: Life, upto: int, parts: Parts | None = None) -> Break | None:
        """Compare the counters that are missing up to `upto` with the numbers that are known to be lost."""
        head = self._store.transcript.head(life)
        now = self._store.transcript.missing(life.conversation)
        heard, before = (0, Missing(0, 0)) if head is None else (head.counter, head.missing)
        latest = self._store.transcript.latest_life(life.conversation, life.device) if head is None else None
        if latest is not None and (last := self._store.transcript.head(latest)) is not None:
            before = last.missing  # another life of the device says since when it is heard
        missing = upto - heard
        if parts is not None:
            missing -= max(0, min(parts.last, upto) - max(parts.first - 1, heard))
        # Nobody can say whose the lost numbers were, so each sender may claim all of them.
        known = now.lost - before.lost
        # That a number was for others is only the server's word, until the sender names it. Where something was lost,
        # and told, that may be the very message that named it.
        if known and (head is not None or latest is not None):
            known += now.not_for_you - before.not_for_you
        if missing <= known:
            return None
        # It is told now: the next message that shows the same hole is no news.
        self._store.transcript.add_lost(life.conversation, missing - known)
        return Break.DROPPED

    def _incarnation(self) -> bytes:
        found = self._store.settings.find(INCARNATION, bytes)
        if found is None:
            self.start_incarnation()
            found = self._store.settings.find(INCARNATION, bytes)
        assert found is not None
        return found
