"""A transparency log as clients see it, with a clock that a test moves: honest, or lying as a test chooses."""

from collections.abc import Callable
from uuid import UUID

import trio
from msgspec import structs

from tests.contract.transparency.logs import ORIGIN, SIGNERS
from tests.varde.endpoints import NOW
from varde.errors import Refusal
from varde_contract.envelope import SeenCheckpoint
from varde_contract.ids import AccountId
from varde_contract.refusals import RefusalCode
from varde_contract.rest.transparency import ConsistencyProof, LoggedList, LogLookup
from varde_contract.transparency.checkpoint import Checkpoint, Signer, sign_checkpoint
from varde_contract.transparency.entry import Entry
from varde_contract.transparency.merkle import proof_ranges, root_of

SOMEBODY = AccountId(UUID(int=0xA11CE))


def listed(number: int, account: AccountId = SOMEBODY, digest: int = 0) -> Entry:
    """A device list of an account."""
    return Entry(account, number, (digest or number).to_bytes(32))


class FakeLog:
    """A `varde.transparency.LogReader`. `fault` is raised by every call, and `lie` may change each look-up."""

    def __init__(self, *entries: Entry) -> None:
        self.entries = list(entries)
        self.signers: tuple[Signer, ...] = SIGNERS
        self.clock_ms = NOW
        self.signed_ms: int | None = None
        """When checkpoints say they were signed; None for now."""
        self.fault: Exception | None = None
        self.lie: Callable[[LogLookup], LogLookup] = lambda lookup: lookup
        self.calls: list[str] = []
        self.cosigners: tuple[Signer, ...] = ()
        """Witnesses that cosign whatever they are shown, which is the log as it is now."""
        self.cosigned: bytes | None = None
        """What is shown as cosigned instead."""
        self.keys_text: str | None = None
        """What is shown instead of the keys."""

    def now_ms(self) -> int:
        """The clock of the test."""
        return self.clock_ms

    def root(self, size: int | None = None) -> bytes:
        """The root at a size."""
        return root_of([each.leaf() for each in self.entries[:size]])

    def seen(self, size: int | None = None) -> SeenCheckpoint:
        """What somebody saw who saw this log at a size."""
        return SeenCheckpoint(len(self.entries) if size is None else size, self.root(size))

    def note(self) -> bytes:
        """The newest checkpoint."""
        at = self.clock_ms if self.signed_ms is None else self.signed_ms
        return sign_checkpoint(Checkpoint(ORIGIN, len(self.entries), self.root()), self.signers, at // 1_000).encode()

    async def log_keys(self) -> str:
        """As promised."""
        await self._answer("keys")
        return self.keys_text or "".join(f"{signer.key}\n" for signer in self.signers)

    async def log_checkpoint(self) -> bytes:
        """As promised."""
        await self._answer("checkpoint")
        return self.note()

    async def log_cosigned(self) -> bytes:
        """As promised."""
        await self._answer("cosigned")
        if self.cosigned is None and not self.cosigners:
            raise Refusal.of(RefusalCode.NOT_FOUND, "no")
        return self.cosigned or self.cosign()

    def cosign(self) -> bytes:
        """What the witnesses make of the log now."""
        checkpoint = Checkpoint(ORIGIN, len(self.entries), self.root())
        return sign_checkpoint(checkpoint, (*self.signers, *self.cosigners), self.clock_ms // 1_000).encode()

    async def log_lookup(self, account: AccountId, number: int) -> LogLookup:
        """As promised."""
        await self._answer("lookup")
        found = [
            LoggedList(each.number, each.digest, index, self._prove(index, index + 1, len(self.entries)))
            for index, each in enumerate(self.entries)
            if each.account == account and each.number >= number
        ]
        return self.lie(LogLookup(self.note().decode(), tuple(found[:64])))

    async def log_consistency(self, old: int, size: int) -> ConsistencyProof:
        """As promised."""
        await self._answer("consistency")
        if not 0 < old <= size <= len(self.entries):
            raise Refusal.of(RefusalCode.NOT_FOUND, "no")
        return ConsistencyProof(self._prove(0, old, size))

    def _prove(self, start: int, end: int, size: int) -> tuple[bytes, ...]:
        return tuple(root_of([self.entries[index].leaf() for index in each]) for each in proof_ranges(start, end, size))

    async def _answer(self, call: str) -> None:
        await trio.lowlevel.checkpoint()
        self.calls.append(call)
        if self.fault is not None:
            raise self.fault


def leave_out(number: int) -> Callable[[LogLookup], LogLookup]:
    """Hide one list."""
    return lambda lookup: structs.replace(
        lookup, entries=tuple(each for each in lookup.entries if each.number != number)
    )
