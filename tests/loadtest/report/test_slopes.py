"""What runs say of the cost of a node, a connection and a message."""

import pytest
from msgspec.structs import replace

from loadtest.exits import CouldNotRun
from loadtest.report.comparison import Slope, slopes_of, words_of
from loadtest.report.result import Result
from tests.loadtest.report.sample_runs import sample_run

CPU = Slope(node=2.0, connection=0.002, message=0.1, crossing=0.0)
MEMORY = Slope(node=60.0, connection=0.03, message=0.0, crossing=0.0)


def run_of(nodes: int, connections: int, messages: int) -> Result:
    """A run whose servers cost exactly that; the nodes share it evenly."""
    run = sample_run()
    server = {"postgres.cpu_percent": 0.2 * messages, "postgres.rss_mib": 50.0 * nodes}
    for node in range(nodes):
        server[f"relay-{node + 1}.cpu_percent"] = CPU.at(nodes, connections, messages) / nodes
        server[f"relay-{node + 1}.rss_mib"] = MEMORY.at(nodes, connections, messages) / nodes
    series = [replace(sample, connected=connections, sent_per_second=messages, server=server) for sample in run.series]
    return replace(run, series=series)


RUNS = [run_of(*each) for each in ((1, 500, 0), (1, 2_000, 0), (3, 2_000, 0), (1, 2_000, 200), (3, 2_000, 200))]


def test_the_slopes_are_those_of_the_runs() -> None:
    """Runs of which one thing differs each time give back what each thing costs."""
    found = slopes_of(RUNS)
    for slope, wanted in ((found.cpu["relay"], CPU), (found.memory["relay"], MEMORY)):
        assert (slope.node, slope.connection, slope.message, slope.crossing) == pytest.approx(
            (wanted.node, wanted.connection, wanted.message, wanted.crossing), abs=1e-6
        )
    assert found.cpu["postgres"].message == pytest.approx(0.2)
    assert max(found.misfit.values()) < 0.1


def test_a_million_is_reckoned_from_places_and_processor() -> None:
    """So many nodes as have places for all, or as have the processor for it if those are more."""
    found = slopes_of(RUNS)
    assert "relay nodes  67 (places: 67; CPU at 60% of a core: 35)" in words_of(found, 1_000_000, 100)
    assert "relay nodes  121 (places: 67; CPU at 60% of a core: 121)" in words_of(found, 1_000_000, 50_000)


@pytest.mark.parametrize(
    "runs", [RUNS[:2], RUNS[:1] * 4, [run_of(1, 100, 0), run_of(2, 200, 0), run_of(3, 300, 0)]], ids=len
)
def test_runs_that_tell_nothing_apart_are_refused(runs: list[Result]) -> None:
    """Where two things always grow together, nobody knows what each costs."""
    with pytest.raises(CouldNotRun, match="apart"):
        slopes_of(runs)
