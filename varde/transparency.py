"""The transparency log as this device follows it: one history, and every device list that is used is in it.

A server that shows somebody another list than the rest must show two logs. This device keeps the last checkpoint,
demands that every later one continues it, and compares with what others saw (they say so inside their messages).
"""

import hashlib
from collections.abc import Callable
from typing import Protocol

import trio
from msgspec import Struct
from msgspec.structs import replace

from varde.backoff import Backoff
from varde.clock import now_ms
from varde.errors import Busy, LogForked, NotFound, Refusal, UnprovenList, Unreachable, VardeError
from varde.events import ForkedLog
from varde.log_policy import COSIGNED_SECONDS, LogPolicy
from varde.store import Store
from varde.store.transparency import KnownList, LogState
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
PROOF_MS = 7 * 24 * 3_600 * 1_000
"""How long a proof stands without another look. `ListLookups` looks each day: so long the API may be away."""
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

    async def log_cosigned(self) -> bytes:
        """Return the newest cosigned checkpoint as a signed note."""

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
        self._good_until_ms: dict[tuple[AccountId, int], int] = {}
        self._policy = LogPolicy(store)
        self._heard: dict[SeenCheckpoint, None] = {}
        # Bounded: a member who makes up a checkpoint in every message must not fill anybody's memory.
        self._send_heard, self._receive_heard = trio.open_memory_channel[tuple[SeenCheckpoint, DeviceId]](64)

    def refuse_fork(self) -> None:
        """Raise LogForked once two histories were shown."""
        state = self._store.transparency.state()
        if state is not None and state.forked is not None:
            raise LogForked(state.forked[0])

    def policy(self) -> str | None:
        """Return what is demanded of the log, a C2SP tlog-policy file."""
        return self._policy.text()

    def set_policy(self, text: str | None) -> None:
        """Demand from now on what a policy says; None: nothing. Raises VardeError for one that is not for this log."""
        state = self._store.transparency.state()
        with self._store.transaction():
            self._policy.put(text, () if state is None else state.vkeys)
            if state is not None:
                self._store.transparency.put_state(replace(state, cosigned_time=0))

    async def demand_witnesses(self, within_s: float = COSIGNED_SECONDS) -> None:
        """Where a policy names witnesses: demand that enough of them have cosigned this very log a short time ago.

        So nobody can be shown a log of their own for longer than that. Raises UnprovenList, LogForked, Refusal,
        Unreachable.
        """
        self.refuse_fork()
        known, now = self._store.transparency.state(), self._now_ms() / 1_000
        if not self._policy.demands_witnesses:
            return
        if known is not None and abs(now - known.cosigned_time) < within_s:
            return
        try:
            note = await self._reader.log_cosigned()
            state = await self.refresh()  # after it: the newest checkpoint then has what witnesses have cosigned
            opened = open_checkpoint(note, [VerifierKey.parse(vkey) for vkey in state.vkeys])
            cosigned_time = self._policy.cosigned_time(opened.note, round(now))
        except (NotFound, PeerFault):
            cosigned_time = None
        if cosigned_time is None:
            advice = "wait, or ask the witnesses of your policy whether they run"
            raise UnprovenList("too few witnesses have cosigned the transparency log", advice=advice)
        if opened.checkpoint.size > state.size:
            raise UnprovenList("an older checkpoint of the transparency log was shown than witnesses have cosigned")
        if not await self._agrees(SeenCheckpoint(*opened.checkpoint[1:]), state):
            raise self._fork("witnesses have cosigned another log than the one shown", state, opened)
        async with self._accepting:
            with self._store.transaction():
                newest = self._store.transparency.state() or state
                self._store.transparency.put_state(replace(newest, cosigned_time=cosigned_time))

    async def verify(self, entry: Entry, *, again: bool = False) -> int | None:
        """Prove that a device list is in the log; return the number of the account's newest list there.

        None while it may still be on its way there, for a minute from when it was first shown. A list that was proven
        as the newest is not looked up again for a week, unless one asks `again`.

        Raises UnprovenList: nothing may be encrypted for the account. Raises LogForked, Refusal, Unreachable.
        """
        self.refuse_fork()
        known = self._store.transparency.known(entry.account, entry.number)
        if known is not None and known.digest != entry.digest:
            raise UnprovenList("two different device lists with the same number were shown")
        if known is not None and not again and self._keep_good(entry, known):
            return entry.number
        since_ms = self._now_ms() if known is None else known.since_ms
        index, newest = await self._look_up(entry)
        # Of a list that is not the newest the proof stands, and it is asked again before anything is sent.
        looked_up_ms = self._now_ms() if index is not None and newest == entry.number else 0
        known = KnownList(entry.digest, since_ms, index, looked_up_ms)
        with self._store.transaction():
            self._store.transparency.put(*entry[:2], known)
        self._keep_good(entry, known)
        if index is None and not 0 <= self._now_ms() - since_ms < GRACE_MS:
            raise UnprovenList("a device list is not in the transparency log, a minute after it was shown")
        return None if index is None else newest

    def proof_age_ms(self, account: AccountId, number: int) -> int | None:
        """Return how long ago the log was last asked for a newer list than this one; None for one not proven."""
        known = self._store.transparency.known(account, number)
        return None if known is None or known.index is None else self._now_ms() - known.looked_up_ms

    async def look_again(self, account: AccountId, number: int) -> None:
        """Ask the log whether there is a newer list. Then this one is good no more. Raises as `verify`."""
        known = self._store.transparency.known(account, number)
        if known is not None:
            await self.verify(Entry(account, number, known.digest), again=True)

    def is_good(self, account: AccountId, number: int) -> bool:
        """Whether a list was proven as the newest, not long ago: without a look at the store."""
        return self._now_ms() < self._good_until_ms.get((account, number), 0)

    def _keep_good(self, entry: Entry, known: KnownList) -> bool:
        until_ms = known.looked_up_ms + PROOF_MS
        if known.index is not None and known.looked_up_ms <= self._now_ms() < until_ms:
            self._good_until_ms[entry[:2]] = until_ms
            return True
        self._good_until_ms.pop(entry[:2], None)
        return False

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
        self._good_until_ms.clear()
        with self._store.transaction():
            self._store.transparency.forget()

    async def _keep_fresh(self) -> None:
        backoff = Backoff()
        while True:
            try:
                await self.refresh()
                await self.demand_witnesses(within_s=REFRESH_SECONDS)
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
        # One at a time: two answers on their way would be compared with the same last checkpoint, and the older of them
        # stored last.
        async with self._accepting:
            self.refuse_fork()
            last = self._store.transparency.state() or await self._pin()
            opened = self._open(note, last)
            await self._demand_consistency(last, opened)
            size, root, time = opened.checkpoint.size, opened.checkpoint.root, max(opened.time, last.time)
            new = replace(last, size=size, root=root, time=time, note=note)
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
        self._policy.check_keys(vkeys)
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
        # An empty log is the beginning of every log, and proves nothing.
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
