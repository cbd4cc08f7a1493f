"""An audit: the whole transparency log is read and replayed by somebody who trusts nothing but its keys."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from msgspec import Struct

from varde.errors import VardeError
from varde_contract.errors import PeerFault
from varde_contract.ids import AccountId
from varde_contract.transparency.checkpoint import Checkpoint, open_checkpoint
from varde_contract.transparency.entry import Entry, split_entries
from varde_contract.transparency.note import VerifierKey, parse_note
from varde_contract.transparency.policy import NONE, Policy
from varde_contract.transparency.tiles import EMPTY, ENTRIES, WIDTH, Edge, Tile, grow, index_path, width_of

Read = Callable[[str], Awaitable[bytes]]
"""Returns what is at a path below `/v1/log/`. Raises Refusal, Unreachable."""


class AuditFailed(VardeError):
    """The log is not what it promises to be."""

    code = "audit-failed"
    advice = "keep what was downloaded, tell others, and treat the server as hostile until its operator has said why"


class Audited(Struct, frozen=True):
    """What an audit has found to be whole: keep it, and give it to the next audit. `time` is the log's, in seconds."""

    vkeys: tuple[str, ...]
    size: int
    root: bytes
    time: int
    accounts: int


@dataclass
class _Replay:
    edge: Edge = EMPTY
    numbers: dict[AccountId, int] = field(default_factory=dict)

    def append(self, entries: Sequence[Entry]) -> None:
        for place, entry in enumerate(entries, start=self.edge.size):
            last = self.numbers.get(entry.account, 0)
            # One that is left out or comes twice is a second history of one account's devices.
            if entry.number != last + 1:
                raise AuditFailed(f"entry {place} is list {entry.number} of an account whose last one was {last}")
            self.numbers[entry.account] = entry.number
        self.edge, _ = grow(self.edge, [entry.leaf() for entry in entries])


async def audit(read: Read, last: Audited | None = None, policy: Policy | None = None) -> Audited:
    """Read every entry, and check what a log promises: it continues the last audit's, each account's lists are numbered
    from 1 without a gap, and the root that the log signed is the root of just these entries.

    A `policy` names the log's keys, and the witnesses that must have cosigned a checkpoint which this log continues.
    Without it and without `last`, the keys that the server shows are believed.

    Raises AuditFailed, Refusal, Unreachable.
    """
    try:
        note = parse_note(await read("checkpoint"))
        vkeys = await _keys(read, Checkpoint.parse(note.text).origin, last, policy)
        keys = [VerifierKey.parse(vkey) for vkey in vkeys]
        opened = open_checkpoint(note.encode(), keys)
        wanted = {(opened.checkpoint.size, opened.checkpoint.root)}
        if last is not None:
            # Replayed to that size as well: consistency proofs would say the same, and need the log to make them.
            wanted.add((last.size, last.root))
        if policy is not None and policy.quorum != NONE:
            cosigned = open_checkpoint(await read("checkpoint/cosigned"), keys)
            if not policy.accepts(cosigned.note):
                raise AuditFailed("too few witnesses have cosigned the log")
            wanted.add((cosigned.checkpoint.size, cosigned.checkpoint.root))
        accounts = await _replay(read, opened.checkpoint.size, wanted)
    except (PeerFault, UnicodeDecodeError) as fault:
        raise AuditFailed(f"{fault}") from None
    return Audited(vkeys, opened.checkpoint.size, opened.checkpoint.root, opened.time, accounts)


async def _keys(read: Read, origin: str, last: Audited | None, policy: Policy | None) -> tuple[str, ...]:
    if policy is not None:
        return tuple(str(key) for key in policy.log_keys(origin))
    return last.vkeys if last is not None else tuple((await read("key")).decode().split())


async def _replay(read: Read, size: int, wanted: set[tuple[int, bytes]]) -> int:
    """Replay so many entries, and demand these roots at their sizes; return how many accounts there are."""
    replay = _Replay()
    larger = max(wanted)[0]
    if larger > size:
        raise AuditFailed(f"the log has {size} entries, and had {larger} before")
    for index in range(-(-size // WIDTH)):
        width = width_of(Tile(0, index), size)
        entries = split_entries(await read(f"tile/{ENTRIES}/{index_path(index, width)}"))
        if len(entries) != width:
            raise AuditFailed(f"a bundle of {width} entries has {len(entries)}")
        ends = {at - replay.edge.size for at, _ in wanted if 0 < at - replay.edge.size <= width}
        for begin, end in pairwise(sorted({0, width, *ends})):
            replay.append(entries[begin:end])
            if any(at == replay.edge.size and root != replay.edge.root() for at, root in wanted):
                raise AuditFailed("the entries do not make a root that the log has signed")
    return len(replay.numbers)
