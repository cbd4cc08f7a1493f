"""Whatever a store returns, a device is told of every number once."""

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from domain.talk.log import LogGap, read_items
from domain.talk.model import LogEntry, LogPage
from tests.ids import id_of
from varde_contract.ids import ClientId, ConversationId, DeviceId, MessageId, ProfileId
from varde_contract.talk import GapReason

ME, OTHER = DeviceId(id_of(1)), DeviceId(id_of(2))
HERE = ConversationId(id_of(3))


def entry(seq: int, device: DeviceId, sealed: bytes | None) -> LogEntry:
    """One row of the log."""
    return LogEntry(seq, MessageId(id_of(seq)), ClientId(id_of(seq)), ProfileId(id_of(4)), device, 0, sealed)


@dataclass(frozen=True)
class Row:
    """What a store may say of one number: nothing, or an entry of mine or of another one, with what as ciphertext."""

    there: bool
    mine: bool
    sealed: bytes | None


sealed = st.sampled_from([b"sealed", b"", None])
rows = st.lists(st.builds(Row, st.booleans(), st.booleans(), sealed), max_size=30)


@st.composite
def pages(draw: st.DrawFn) -> LogPage:
    """Any page at all, contradictory ones included."""
    from_seq = draw(st.integers(1, 50))
    drawn = draw(rows)
    entries = tuple(
        entry(from_seq + place, ME if row.mine else OTHER, row.sealed) for place, row in enumerate(drawn) if row.there
    )
    next_seq = from_seq + len(drawn)
    return LogPage(HERE, from_seq, next_seq, next_seq - 1, draw(st.integers(1, 90)), draw(st.integers(0, 90)), entries)


@given(pages())
def test_every_number_is_accounted_for_exactly_once(page: LogPage) -> None:
    """Nothing is left out, nothing comes twice, and all of it comes in order."""
    numbers: list[int] = []
    for told in read_items(page, ME):
        numbers += range(told.from_seq, told.to_seq + 1) if isinstance(told, LogGap) else [told.seq]
    assert numbers == list(range(page.from_seq, page.next_seq))


@given(pages(), st.integers(0, 90))
def test_nothing_above_the_last_number_is_told(page: LogPage, last: int) -> None:
    """Who asked for a range hears of the range, although a page may cover more."""
    numbers: list[int] = []
    for told in read_items(page, ME, last):
        numbers += range(told.from_seq, told.to_seq + 1) if isinstance(told, LogGap) else [told.seq]
    assert numbers == list(range(page.from_seq, min(page.next_seq, last + 1)))


@given(pages())
def test_a_message_is_told_exactly_where_the_device_may_have_it(page: LogPage) -> None:
    """Not its own, not from before its time, and not without ciphertext; all others are."""
    told = {each.seq for each in read_items(page, ME) if isinstance(each, LogEntry)}
    may = {each.seq for each in page.entries if each.ciphertext and each.device != ME and each.seq >= page.start}
    assert told == may


@given(pages())
def test_neighbours_missing_for_one_reason_are_one_gap(page: LogPage) -> None:
    """Two gaps beside each other have different reasons."""
    told = list(read_items(page, ME))
    for one, following in pairwise(told):
        if isinstance(one, LogGap) and isinstance(following, LogGap):
            assert one.why is not following.why


def test_each_reason_has_its_place() -> None:
    """Before the membership; own; confirmed and gone; never fetched and gone; for others."""
    known = (
        *(entry(2, OTHER, b"not yours"), entry(3, ME, b"own"), entry(4, OTHER, None), entry(5, OTHER, b"")),
        *(entry(7, OTHER, b"yours"), entry(9, OTHER, b""), entry(10, OTHER, b""), entry(11, OTHER, None)),
    )
    page = LogPage(HERE, 1, 12, 11, start=3, upto=5, entries=known)
    assert list(read_items(page, ME)) == [
        LogGap(1, 2, GapReason.BEFORE_YOU),
        LogGap(3, 3, GapReason.OWN),
        LogGap(4, 5, GapReason.DELIVERED),
        LogGap(6, 6, GapReason.EXPIRED),
        known[4],
        LogGap(8, 8, GapReason.EXPIRED),
        LogGap(9, 10, GapReason.NOT_FOR_YOU),
        LogGap(11, 11, GapReason.EXPIRED),
    ]


def test_a_hole_of_any_width_is_one_gap() -> None:
    """What sweeps left behind in years is one record, and making it does not count the numbers one by one."""
    page = LogPage(HERE, 1, 2**60, 2**60 - 1, start=1, upto=0, entries=(entry(2**59, OTHER, b"the one that is left"),))
    first, message, rest = read_items(page, ME)
    assert first == LogGap(1, 2**59 - 1, GapReason.EXPIRED)
    assert message == page.entries[0]
    assert rest == LogGap(2**59 + 1, 2**60 - 1, GapReason.EXPIRED)
