"""Histograms, held against the library of the format. No figure here comes from a clock."""

from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.ledger.reports import DIGITS, MOST_US, Histogram
from loadtest.report.result import Latency

PLACES = (0.0, 1.0, 50.0, 90.0, 99.0, 99.9, 100.0)
latencies = st.lists(st.integers(0, MOST_US) | st.integers(0, 5_000), min_size=1, max_size=200)


def recorded(latencies_us: list[int]) -> Histogram:
    """A histogram of them."""
    histogram = Histogram()
    for latency in latencies_us:
        histogram.record(latency * 1_000)
    return histogram


def by_the_library(latencies_us: list[int]) -> HdrHistogram:
    """The library's own of the same."""
    histogram = HdrHistogram(1, MOST_US, DIGITS)
    for latency in latencies_us:
        assert histogram.record_value(latency)
    return histogram


@given(latencies)
def test_percentiles_are_those_of_hdr_histogram(latencies_us: list[int]) -> None:
    """Every percentile is to the microsecond what the library says."""
    theirs = by_the_library(latencies_us)
    ours = recorded(latencies_us).percentiles_ms(PLACES)
    assert ours == [theirs.get_value_at_percentile(place) / 1_000 for place in PLACES]


@given(latencies, latencies)
def test_merging_is_exact(some_us: list[int], others_us: list[int]) -> None:
    """Two merged histograms are bucket for bucket the one that saw everything."""
    merged = recorded(some_us)
    merged.merge(recorded(others_us))
    assert merged.buckets == recorded(some_us + others_us).buckets


@settings(max_examples=8)  # the library takes a tenth of a second to decode one
@given(latencies)
def test_a_result_holds_the_histogram_itself(latencies_us: list[int]) -> None:
    """The library decodes from a result the counts that it would have counted itself."""
    figures = recorded(latencies_us).latency()
    decoded, theirs = HdrHistogram.decode(figures.hdr), by_the_library(latencies_us)
    assert figures.count == theirs.get_total_count()
    assert [item.count_at_value_iterated_to for item in decoded.get_recorded_iterator()] == [
        item.count_at_value_iterated_to for item in theirs.get_recorded_iterator()
    ]
    assert figures.p99 == decoded.get_value_at_percentile(99) / 1_000


def test_three_digits_are_kept() -> None:
    """A percentile is at most a thousandth above what was recorded."""
    for value in (1, 999, 2_047, 2_048, 123_456, 60_000_000):
        (most,) = recorded([value]).percentiles_ms([100.0])
        assert most is not None
        assert value <= most * 1_000 <= value * 1.001


def test_what_cannot_be_is_kept_within_bounds() -> None:
    """A time before the send, from an uncertain clock, counts as none, and more than an hour as an hour."""
    histogram = recorded([-5, MOST_US * 2])
    assert histogram.buckets == recorded([0, MOST_US]).buckets


def test_nothing_recorded_is_nothing_measured() -> None:
    """An empty histogram has no percentile, rather than a good one."""
    assert Histogram().latency() == Latency()
    assert Histogram().percentiles_ms((99,)) == [None]
