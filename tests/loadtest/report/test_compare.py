"""A comparison finds what got worse, and cries over nothing else."""

import random
from pathlib import Path

import msgspec
import pytest

from loadtest.command.cli import main
from loadtest.exits import Verdict
from loadtest.ledger.reports import read_histogram
from loadtest.report.comparison import DEVIATIONS, Change, compare_results, count_of, interval_of, mean_of, table_of
from loadtest.report.result import Messages, Rate, Result, Sample, Users
from tests.loadtest.report.sample_runs import empty_run, latency_of, rest_run, sample_run

pytestmark = pytest.mark.xdist_group("reports")  # they share the runs that they are about

BEFORE = sample_run()


def with_messages(result: Result, **counts: int) -> Result:
    """A result with other counts of messages."""
    messages: Messages = msgspec.structs.replace(result.messages, **counts)
    return msgspec.structs.replace(result, messages=messages)


def test_the_same_run_is_the_same() -> None:
    """Nothing changed between a run and itself, and there is much to look at."""
    comparison = compare_results(BEFORE, BEFORE)
    assert not comparison.keys(Change.WORSE)
    assert not comparison.obstacles
    assert not comparison.environment
    assert len(comparison.rows) > 20


def test_chance_is_no_regression() -> None:
    """Runs that differ by chance alone are worse in nothing, even without a tolerance."""
    for seed in range(2, 7):
        comparison = compare_results(BEFORE, sample_run(seed, per_second=15), tolerance=0.0)
        assert comparison.keys(Change.WORSE) == set(), seed


def test_a_slower_system_is_seen_in_both_directions() -> None:
    """What takes half as long again is worse in every percentile, and better the other way round."""
    slower = sample_run(2, slower=1.5)
    latencies = {f"latency_ms.send_to_receive.{name}" for name in ("p50", "p95", "p99")}
    assert latencies <= compare_results(BEFORE, slower).keys(Change.WORSE)
    assert latencies <= compare_results(slower, BEFORE).keys(Change.BETTER)


def test_the_tolerance_is_kept() -> None:
    """A change that is certain and smaller than the tolerance is let pass."""
    slower = sample_run(1, slower=1.3)
    assert "latency_ms.send_to_receive.p50" in compare_results(BEFORE, slower, tolerance=0.2).keys(Change.WORSE)
    assert not compare_results(BEFORE, slower, tolerance=0.6).keys(Change.WORSE)


@pytest.mark.parametrize("name", ["lost", "duplicated", "disordered", "undecryptable", "astray"])
def test_one_fault_more_is_worse(name: str) -> None:
    """There is no noise in what must not be, and no tolerance for it."""
    comparison = compare_results(BEFORE, with_messages(BEFORE, **{name: 1}), tolerance=9.0)
    assert comparison.keys(Change.WORSE) == {f"messages.{name}"}


def test_counts_have_the_noise_of_counts() -> None:
    """A few refusals more are chance, a multitude is not."""
    assert not compare_results(BEFORE, with_messages(BEFORE, refused=12)).keys(Change.WORSE)
    assert compare_results(BEFORE, with_messages(BEFORE, refused=80)).keys(Change.WORSE) == {"messages.refused"}


def test_doing_less_is_worse() -> None:
    """A rate or a number of connections that falls by more than a fiftieth is a regression."""
    fewer = msgspec.structs.replace(
        BEFORE,
        rate=Rate(target_per_second=1_000.0, achieved_per_second=960.0, deliveries_per_second=998.4),
        users=msgspec.structs.replace(BEFORE.users, connected=9_000),
    )
    comparison = compare_results(BEFORE, fewer)
    assert comparison.keys(Change.WORSE) == {"rate.achieved_per_second", "users.connected"}


def test_a_hungrier_server_is_worse() -> None:
    """A process that takes a third more of a core all along is named."""

    def hungrier(sample: Sample) -> Sample:
        server = {**sample.server, "relay-0.cpu_percent": 1.33 * sample.server["relay-0.cpu_percent"]}
        return msgspec.structs.replace(sample, server=server)

    after = msgspec.structs.replace(BEFORE, series=[hungrier(sample) for sample in BEFORE.series])
    assert compare_results(BEFORE, after).keys(Change.WORSE) == {"server.relay-0.cpu_percent"}


def test_operations_of_the_api_are_compared_by_name() -> None:
    """An operation that got slower is named, and one that only one run had is not compared."""
    before = rest_run()
    slow = sample_run(1, slower=2.0).latency_ms.send_to_receive
    first, *others = before.endpoints
    after = msgspec.structs.replace(before, endpoints=[msgspec.structs.replace(first, latency_ms=slow), *others[1:]])
    worse = compare_results(before, after).keys(Change.WORSE)
    assert worse == {f"endpoints.sign in.{name}" for name in ("p50", "p95", "p99")}


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (msgspec.structs.replace(BEFORE, verdict=Verdict.INVALID, reasons=["too busy"]), "invalid: too busy"),
        (empty_run(), "the second run is failed"),
        (msgspec.structs.replace(BEFORE, scenario="groups"), "scenario differs: steady and groups"),
        (msgspec.structs.replace(BEFORE, users=Users(asked=9, connected=9, peak=9)), "number of users differs"),
        (msgspec.structs.replace(BEFORE, rate=Rate(target_per_second=5, achieved_per_second=5)), "target rate differs"),
        (msgspec.structs.replace(BEFORE, stages=BEFORE.stages[:2] * 2 + BEFORE.stages[2:] * 2), "judged stages differ"),
    ],
    ids=["invalid", "failed", "scenario", "users", "rate", "length"],
)
def test_unlike_runs_are_not_compared(after: Result, words: str) -> None:
    """What stands between the runs is said in words, and no figure is called worse."""
    comparison = compare_results(BEFORE, after)
    assert any(words in obstacle for obstacle in comparison.obstacles)
    told = table_of(comparison, ("a", "b"))
    assert words in told
    assert "worse" not in told


def test_another_machine_is_said() -> None:
    """Whoever compares across machines learns what differs, and is compared to nevertheless."""
    other = msgspec.structs.replace(BEFORE, environment={**BEFORE.environment, "cpu": "Slide rule", "revision": "f00"})
    comparison = compare_results(BEFORE, other)
    assert [key for key, _, _ in comparison.environment] == ["cpu", "revision"]
    told = table_of(comparison, ("a", "b"))
    assert "Another machine" in told
    assert "Slide rule" in told
    assert not comparison.keys(Change.WORSE)
    same = msgspec.structs.replace(BEFORE, environment={**BEFORE.environment, "revision": "f00"})
    assert "Another machine" not in table_of(compare_results(BEFORE, same), ("a", "b"))


def test_order_statistics_hold_the_truth() -> None:
    """Of fifty samples of one distribution, the intervals of all but a few hold its true percentile."""
    lots = random.Random(7)  # noqa: S311 - a sample for a test
    missed = 0
    for _ in range(50):
        latency = latency_of([int(lots.expovariate(1 / 10_000)) + 1 for _ in range(1_000)])
        low, high = interval_of(read_histogram(latency.hdr), 95.0, DEVIATIONS)
        missed += not low <= 29.957 <= high
    assert missed <= 2


def test_few_measurements_are_not_compared() -> None:
    """A percentile that a handful of messages decide is left out."""
    few = latency_of([1_000 * place for place in range(1, 101)])
    latencies = msgspec.structs.replace(BEFORE.latency_ms, send_to_receive=few)
    comparison = compare_results(BEFORE, msgspec.structs.replace(BEFORE, latency_ms=latencies))
    keys = {row.key for row in comparison.rows if row.key.startswith("latency_ms.send_to_receive")}
    assert keys == {"latency_ms.send_to_receive.p50"}


def test_noise_of_nothing_is_not_nothing() -> None:
    """A count of zero could have been a few, and a series nobody sampled has no mean."""
    assert count_of(0.0).noise == (0.0, DEVIATIONS)
    assert mean_of(BEFORE, "nobody.cpu_percent") is None


def test_what_is_worse_is_told_first() -> None:
    """The first row of the table is what a reader came for, with both figures, the change and its noise."""
    rows = table_of(compare_results(BEFORE, sample_run(1, slower=1.6, lost=3)), ("old", "new")).splitlines()
    assert "old" in rows[0]
    assert "new" in rows[0]
    assert rows[1].split()[0] == "\x1b[31m\x1b[1mlatency_ms.send_to_receive.p50"
    assert "+60." in rows[1]
    assert "A regression" in rows[-1]


@pytest.mark.parametrize(
    ("after", "code", "words"),
    [
        (BEFORE, 0, "No regression"),
        (sample_run(1, slower=1.6, lost=3), 1, "A regression"),
        (empty_run(), 2, "Not comparable"),
    ],
    ids=["same", "worse", "failed"],
)
def test_the_command_ends_with_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], after: Result, code: int, words: str
) -> None:
    """Folders and files are read, and the exit code says what a gate needs."""
    for name, result in (("a", BEFORE), ("b", after)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_bytes(msgspec.json.encode(result))
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b" / "result.json")]) == code
    said = capsys.readouterr().out
    assert words in said
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--changed"]) == code
    assert len(capsys.readouterr().out) < len(said)


@pytest.mark.parametrize("content", [None, "not json", "broken histogram"])
def test_what_cannot_be_read_ends_with_three(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    """The words name what is wrong, without a traceback."""
    (tmp_path / "a.json").write_bytes(msgspec.json.encode(BEFORE))
    if content == "broken histogram":
        broken = msgspec.structs.replace(BEFORE.latency_ms.send_to_ack, hdr="AAAA")
        latencies = msgspec.structs.replace(BEFORE.latency_ms, send_to_ack=broken)
        whole = msgspec.structs.replace(BEFORE, latency_ms=latencies)
        (tmp_path / "b.json").write_bytes(msgspec.json.encode(whole))
    elif content is not None:
        (tmp_path / "b.json").write_text(content, encoding="utf-8")
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 3
    said = capsys.readouterr().err
    assert said.startswith("loadtest: ")
    assert "Traceback" not in said
