"""A page of the log as one device may see it: entries, and gaps with the reason for each."""

from collections.abc import Iterator
from itertools import pairwise
from typing import TypeAlias

from msgspec import Struct

from domain.talk.model import LogEntry, LogPage
from varde_contract.ids import DeviceId
from varde_contract.limits import SEQ_MAX
from varde_contract.talk import GapReason


class LogGap(Struct, frozen=True):
    """The numbers `from_seq` to `to_seq`, both with, cannot be had."""

    from_seq: int
    to_seq: int
    why: GapReason


LogItem: TypeAlias = LogEntry | LogGap


def read_items(page: LogPage, device: DeviceId, last: int = SEQ_MAX) -> Iterator[LogItem]:
    """Account for every number from `page.from_seq` to below `page.next_seq`, in order and each exactly once.

    None above `last` is told. An entry that comes out has its ciphertext; neighbours missing for the same reason come
    out as one.
    """
    run: LogGap | None = None
    for first, final, entry in _runs(page, last):
        why = _why_missing(page, first, entry, device)
        if run is not None and run.why is not why:
            yield run
            run = None
        if why is not None:
            run = LogGap(run.from_seq if run else first, final, why)
        elif entry is not None:
            yield entry
    if run is not None:
        yield run


def _runs(page: LogPage, last: int) -> Iterator[tuple[int, int, LogEntry | None]]:
    """Runs of numbers, first and last, that have the same answer: an entry each, or what lies between two.

    As many as there are entries, however many numbers a sweep has left without one.
    """
    by_seq = {entry.seq: entry for entry in page.entries}
    end = min(page.next_seq, last + 1)
    # Cut at every border where the answer may change, instead of number by number: a page over a hole of millions costs
    # no more than its entries.
    cuts = {page.from_seq, end, page.start, page.upto + 1, *by_seq, *(seq + 1 for seq in by_seq)}
    for first, after in pairwise(sorted(cut for cut in cuts if page.from_seq <= cut <= end)):
        yield first, after - 1, by_seq.get(first)


def _why_missing(page: LogPage, seq: int, entry: LogEntry | None, device: DeviceId) -> GapReason | None:
    # In this order: whatever a store returns by mistake, nobody is given what is older than their membership.
    if seq < page.start:
        return GapReason.BEFORE_YOU
    if entry is not None and entry.device == device:
        return GapReason.OWN
    if entry is not None and entry.ciphertext:
        return None
    if seq <= page.upto:
        return GapReason.DELIVERED
    return GapReason.EXPIRED if entry is None or entry.ciphertext is None else GapReason.NOT_FOR_YOU
