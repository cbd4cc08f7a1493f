"""The transparency log as this device follows it: one history, and every device list that is used is in it.

A server that shows somebody another list than the rest must show two logs. This device keeps the last checkpoint,
demands that every later one continues it, and compares with what others saw (they say so inside their messages).
"""

import hashlib
from collections.abc import Callable
from typing import Protocol

import trio
from msgspec import Struct

from varde.backoff import Backoff
from varde.clock import now_ms
from varde.errors import Busy, LogForked, NotFound, Refusal, UnprovenList, Unreachable, VardeError
from varde.events import ForkedLog
from varde.store import Store
from varde.store.transparency import LogState
from varde_contract.envelope import SeenCheckpoint
from varde_contract.errors import PeerFault
from varde_contract.ids import AccountId, DeviceId
from varde_contract.rest.transparency import ConsistencyProof, LogLookup
from varde_contract.transparency.checkpoint import Opened, open_checkpoint
from varde_contract.transparency.entry import Entry
from varde_contract.transparency.merkle import EMPTY_ROOT, check_consistency, check_inclusion
from varde_contract.transparency.note import SignatureType, VerifierKey, parse_note
from varde_contract.transparency.proof import InclusionProof

GRACE_MS = 60_000
"""How long a list may be used that is not in the log yet. The log takes a second; its worker may be restarting."""
STALE_SECONDS = 10 * 60
"""A checkpoint is signed each minute. An older one means that its end is hidden, or that a clock is wrong."""
SKEW_SECONDS = 60
"""By how much the clocks of two workers that sign one log may differ."""
REFRESH_SECONDS = 5 * 60.0
HEARD_MOST = 1_000
"""What others saw, kept so as not to check it again."""


class LoggedDeviceList(Struct, frozen=True):
    """A device list in the log: its number, its place, the SHA-256 of the signed list.

    `known` says whether this device was shown the list.
    """

    number: int
    index: int
    digest: bytes
    known: bool


class LogReader(Protocol):
    """The log at the API: `varde.rest.Rest`. Every call raises Refusal or Unreachable."""

    async def log_keys(self) -> str:
        """Return the vkeys, one on a line."""

    async def log_checkpoint(self) -> bytes:
        """Return the newest checkpoint as a signed note."""

    async def log_lookup(self, account: AccountId, number: int) -> LogLookup:
        """Return an account's entries from this list number on."""

    async def log_consistency(self, old: int, size: int) -> ConsistencyProof:
        """Return the proof that one size continues another."""


class Transparency:
    """The log of one server, over the store of this device."""

    def __init__(
        self, store: Store, reader: LogReader, publish: Callable[[ForkedLog], None], clock: Callable[[], int] = now_ms
    ) -> None:
        self._store = store
        self._reader = reader
        self._publish = publish
        self._now_ms = clock
        self._accepting = trio.Lock()
        self._heard: dict[SeenCheckpoint, None] = {}
        self._send_heard, self._receive_heard = trio.open_memory_channel[tuple[SeenCheckpoint, DeviceId]](64)

    def refuse_fork(self) -> None:
        """Raise LogForked once two histories were shown."""
        state = self._store.transparency.state()
        if state is not None and state.forked is not None:
            raise LogForked(state.forked[0])

    async def verify(self, entry: Entry, *, again: bool = False) -> int | None:
        """Prove that a device list is in the log; return the number of the account's newest list there.

        None while it may still be on its way there, for a minute from when it was first shown. A list that was proven
        is not looked up again, unless one asks `again` whether there is a newer one.

        Raises UnprovenList: nothing may be encrypted for the account. Raises LogForked, Refusal, Unreachable.
        """
        self.refuse_fork()
        known = self._store.transparency.known(entry.account, entry.number)
        if known is not None and known.digest != entry.digest:
            raise UnprovenList("two different device lists with the same number were shown")
        if known is not None and known.index is not None and not again:
            return entry.number
        since_ms = self._now_ms() if known is None else known.since_ms
        index, newest = await self._look_up(entry)
        with self._store.transaction():
            self._store.transparency.put(entry, since_ms, index)
        if index is None and not 0 <= self._now_ms() - since_ms < GRACE_MS:
            raise UnprovenList("a device list is not in the transparency log, a minute after it was shown")
        return None if index is None else newest

    def is_on_its_way(self, account: AccountId, number: int) -> bool:
        """Whether a list was asked for before, and may still be on its way into the log."""
        known = self._store.transparency.known(account, number)
        return known is not None and 0 <= self._now_ms() - known.since_ms < GRACE_MS

    async def history(self, account: AccountId, number: int = 1) -> list[tuple[Entry, int]]:
        """Return all entries of an account from a list number on, each proven, with its place. Raises as `verify`."""
        found: list[tuple[Entry, int]] = []
        while page := (await self._proven(account, number))[1]:
            found += page
            number = page[-1][0].number + 1
        return found

    def describe(self, entry: Entry, index: int) -> LoggedDeviceList:
        """Say of an entry whether this device was shown its list."""
        pinned, known = self._store.pins.newest(entry.account), self._store.transparency.known(*entry[:2])
        shown = known is not None and known.digest == entry.digest
        if pinned is not None and entry.number <= pinned.number:
            signed = self._store.pins.signed_list(entry.account, entry.number)
            shown = hashlib.sha256(signed).digest() == entry.digest
        return LoggedDeviceList(entry.number, index, entry.digest, shown)

    async def prove(self, account: AccountId, number: int) -> bytes:
        """Return a proof that stands alone (C2SP tlog-proof), after checking it. Raises as `verify`."""
        lookup, found = await self._proven(account, number)
        if not found:
            raise UnprovenList("there is no such device list in the transparency log")
        told = lookup.entries[0]
        return InclusionProof(told.index, told.proof, parse_note(lookup.checkpoint.encode())).encode()

    async def refresh(self) -> LogState:
        """Take in the newest checkpoint. Raises UnprovenList, LogForked, Refusal, Unreachable."""
        self.refuse_fork()
        return await self._accept(await self._reader.log_checkpoint())

    def hear(self, checkpoint: SeenCheckpoint | None, device: DeviceId) -> None:
        """Compare with what another device saw, soon and in the background. It never stops anything by itself.

        What another device says is not signed by the log: a member can make it up. So it is told, and proves nothing.
        """
        if checkpoint is not None and checkpoint != self._store.transparency.seen() and checkpoint not in self._heard:
            self._heard[checkpoint] = None
            if len(self._heard) > HEARD_MOST:
                del self._heard[next(iter(self._heard))]
            try:
                self._send_heard.send_nowait((checkpoint, device))
            except trio.WouldBlock:
                del self._heard[checkpoint]  # it will be heard again

    async def run(self) -> None:
        """Keep the checkpoint fresh, and compare with what others saw, until the client ends."""
        state = self._store.transparency.state()
        if state is not None and state.forked is not None:
            self._publish(ForkedLog(state.forked[0]))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_fresh)
            async for checkpoint, device in self._receive_heard:
                await self._compare(checkpoint, device)

    def forget(self) -> None:
        """Forget keys, checkpoint and proofs: the next log that is shown is believed. Only a person may ask for it."""
        with self._store.transaction():
            self._store.transparency.forget()

    async def _keep_fresh(self) -> None:
        backoff = Backoff()
        while True:
            try:
                await self.refresh()
                backoff.reset()
            except (Unreachable, Busy):
                await trio.sleep(backoff.next())
                continue
            except VardeError:
                pass  # told as an event where it matters, and raised to whoever sends
            await trio.sleep(REFRESH_SECONDS)

    async def _look_up(self, entry: Entry) -> tuple[int | None, int]:
        """Return the place of a list in the log, and the account's newest number there."""
        try:
            _, found = await self._proven(entry.account, entry.number)
        except NotFound:
            return None, 0  # nothing was signed yet
        same = [(each, index) for each, index in found if each.number == entry.number]
        if any(each != entry for each, _ in same):
            raise UnprovenList("another device list is in the transparency log than the one shown")
        return (same[0][1] if same else None), max((each.number for each, _ in found), default=0)

    async def _proven(self, account: AccountId, number: int) -> tuple[LogLookup, list[tuple[Entry, int]]]:
        lookup = await self._reader.log_lookup(account, number)
        state = await self._accept(lookup.checkpoint.encode())
        found = [(Entry(account, each.number, each.digest), each.index) for each in lookup.entries]
        numbers = [each.number for each in lookup.entries]
        # Consecutive: a number that is left out would be a list that is hidden.
        if numbers and numbers != list(range(number, number + len(numbers))):
            raise UnprovenList("the transparency log leaves out a device list")
        for (entry, index), told in zip(found, lookup.entries, strict=True):
            try:
                check_inclusion(index, state.size, entry.leaf(), state.root, told.proof)
            except PeerFault:
                raise UnprovenList("the proof of a device list is wrong") from None
        return lookup, found

    async def _accept(self, note: bytes) -> LogState:
        """Verify a checkpoint and keep it. What it proves is the tree of the state that is returned."""
        async with self._accepting:
            self.refuse_fork()
            last = self._store.transparency.state() or await self._pin()
            opened = self._open(note, last)
            await self._demand_consistency(last, opened)
            new = LogState(last.vkeys, *opened.checkpoint[1:], max(opened.time, last.time), note)
            with self._store.transaction():
                self._store.transparency.put_state(new)
            return new

    async def _pin(self) -> LogState:
        vkeys = tuple((await self._reader.log_keys()).split())
        try:
            keys = [VerifierKey.parse(vkey) for vkey in vkeys]
        except PeerFault:
            keys = []
        if [key.type for key in keys] != [SignatureType.ED25519, SignatureType.COSIGNATURE_ML_DSA_44]:
            raise UnprovenList("the transparency log does not have the two keys that it signs with")
        return LogState(vkeys, 0, EMPTY_ROOT, 0, b"")

    def _open(self, note: bytes, last: LogState) -> Opened:
        try:
            opened = open_checkpoint(note, [VerifierKey.parse(vkey) for vkey in last.vkeys])
        except PeerFault:
            raise UnprovenList("the transparency log is not signed with the keys that were pinned") from None
        if abs(self._now_ms() / 1_000 - opened.time) > STALE_SECONDS:
            advice = "check the clock of this device; if it is right, the server hides what is new"
            raise UnprovenList("the newest checkpoint of the transparency log is not of now", advice=advice)
        return opened

    async def _demand_consistency(self, last: LogState, opened: Opened) -> None:
        size, root = opened.checkpoint.size, opened.checkpoint.root
        if size < last.size:
            if opened.time > last.time + SKEW_SECONDS:
                raise self._fork("a smaller log was signed after a larger one", last, opened)
            raise UnprovenList("an older checkpoint of the transparency log was shown than before")
        if size == last.size and root != last.root:
            raise self._fork("two different logs of the same size were signed", last, opened)
        if 0 < last.size < size:
            try:
                proof = (await self._reader.log_consistency(last.size, size)).proof
                check_consistency(last.size, size, last.root, root, proof)
            except (NotFound, PeerFault):
                raise self._fork("a log was signed that does not continue the one seen before", last, opened) from None

    def _fork(self, why: str, last: LogState, opened: Opened) -> LogForked:
        """Keep both signed notes, which together prove it to anybody, and tell it."""
        forked = (why, last.note, opened.note.encode())
        with self._store.transaction():
            self._store.transparency.put_state(LogState(last.vkeys, last.size, last.root, last.time, last.note, forked))
        self._publish(ForkedLog(why))
        return LogForked(why)

    async def _compare(self, checkpoint: SeenCheckpoint, device: DeviceId) -> None:
        try:
            state = self._store.transparency.state()
            if state is None or checkpoint.size > state.size:
                state = await self.refresh()
            agrees = await self._agrees(checkpoint, state)
        except (Refusal, Unreachable):
            self._heard.pop(checkpoint, None)  # nothing is known: it is compared when it is heard again
            return
        except VardeError:
            return  # the log itself is at fault, and that was told
        if not agrees:
            self._publish(ForkedLog("another device has seen another log", device))

    async def _agrees(self, checkpoint: SeenCheckpoint, state: LogState) -> bool:
        if checkpoint.size >= state.size or checkpoint.size == 0:
            return (checkpoint.size, checkpoint.root) in {(state.size, state.root), (0, EMPTY_ROOT)}
        try:
            proof = (await self._reader.log_consistency(checkpoint.size, state.size)).proof
            check_consistency(checkpoint.size, state.size, checkpoint.root, state.root, proof)
        except (NotFound, PeerFault):
            return False
        return True
