"""The file of objectives: ours is whole, and one with a mistake is refused in words."""

from pathlib import Path

import pytest

from loadtest.exits import EXIT_CODES
from loadtest.gate import Slo, SloError, read_slo
from loadtest.scenarios.plan import SCENARIOS, Action, Kind, Options

LINE = '"messages.lost" = { at_most = 0 }\n'
RAMP = '[stage-of-ramp]\n"latency_ms.send_to_receive.p99" = { at_most = 600 }\n'


def read(folder: Path, text: str) -> Slo:
    """Read objectives from a file with this text."""
    path = folder / "slo.toml"
    path.write_text(text)
    return read_slo(path)


def test_every_scenario_has_objectives() -> None:
    """The versioned file has one table for each scenario of the catalogue."""
    assert set(read_slo().scenarios) == set(SCENARIOS)


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "rest"])
def test_no_message_may_be_lost_doubled_or_mixed_up(name: str) -> None:
    """Where messages are sent, none may be lost, come twice or out of order: the limit is 0, in each scenario."""
    plan = SCENARIOS[name].plan(Options())
    if plan.kind is Kind.MESSAGING and any(stage.messages_per_second for stage in plan.stages):
        limits = {bound.key: bound.at_most for bound in read_slo().bounds_of(name)}
        assert {limits.get(f"messages.{what}") for what in ("lost", "duplicated", "disordered")} == {0}


def test_the_floor_of_the_papers_is_there() -> None:
    """The steady run has our goal of 25 ms and the papers' floor of 600 ms."""
    bound = next(each for each in read_slo().bounds_of("steady") if each.key == "latency_ms.send_to_receive.p99")
    assert (bound.at_most, bound.floor) == (25, 600)


def test_stages_and_findings_are_named_as_they_are() -> None:
    """A key that goes through a stage names one of that scenario's plan, and a finding one that is found there."""
    for name, bounds in read_slo().scenarios.items():
        plan = SCENARIOS[name].plan(Options())
        actions = {stage.action for stage in plan.stages}
        found = {"memory-growth", "memory-slope"} | ({"breaking-point"} if plan.ramp else set())
        found |= {"recovery"} if actions & set(Action) - {Action.GO_OFFLINE} else set()
        found |= {"flush"} if Action.COME_BACK in actions else set()
        for first, second, *_ in (bound.key.split(".") for bound in bounds):
            assert first != "stages" or second in {stage.name for stage in plan.stages}
            assert first != "findings" or second in found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version = 1\n[smoke", "is not TOML"),
        (RAMP, "version is None"),
        (f"version = 2\n{RAMP}", "version is 2"),
        (f"version = 1\n[smoke]\n{LINE}", "stage-of-ramp"),
        (f"version = 1\n{RAMP}[smok]\n{LINE}", r"\[smok\] is no scenario"),
        (f"version = 1\n{RAMP}[smoke]\n", "one objective at least"),
        (f"version = 1\n{RAMP}[smoke]\n'messages.losst' = {{ at_most = 0 }}", "no `losst`"),
        (f"version = 1\n{RAMP}[smoke]\n'latency_ms.connect' = {{ at_most = 0 }}", "not a number"),
        (f"version = 1\n{RAMP}[smoke]\n'messages.lost' = 0", "exactly one of at_most and at_least"),
        (f"version = 1\n{RAMP}[smoke]\n'messages.lost' = {{ floor = 0 }}", "exactly one of"),
        (f"version = 1\n{RAMP}[smoke]\n'messages.lost' = {{ at_most = 0, at_least = 0 }}", "exactly one of"),
        (f"version = 1\n{RAMP}[smoke]\n'messages.lost' = {{ at_most = '0' }}", "at_most"),
        (f"version = 1\n{RAMP}[smoke]\n'messages.lost' = {{ at_most = true }}", "at_most"),
        (f"version = 1\n{RAMP}[smoke]\n'messages.lost' = {{ at_most = nan }}", "finite"),
        (f"version = 1\n{RAMP}[smoke]\n'messages.lost' = {{ at_most = 0, of = 'users.askd' }}", "no `askd`"),
        (f"version = 1\n{RAMP}[smoke]\n'messages.lost' = {{ at_most = 0, flor = 3 }}", "flor"),
        (f"version = 1\n{RAMP}[smoke]\n'messages.lost' = {{ at_most = 0, key = 'x' }}", "exactly one of"),
        (f"version = 1\n{RAMP}[smoke]\n'messages.{{lost,losst}}' = {{ at_most = 0 }}", "no `losst`"),
        (f"version = 1\n{RAMP}[smoke]\n'messages.lost' = {{ at_most = 5, floor = 3 }}", "easier"),
    ],
)
def test_a_mistake_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """A mistake anywhere in the file is named; nothing misspelt ever counts as an objective that holds."""
    with pytest.raises(SloError, match=words):
        read(tmp_path, text)


def test_one_line_holds_for_several_keys(tmp_path: Path) -> None:
    """Each of the keys in braces is an objective of its own, with the limit of the line."""
    text = f"version = 1\n{RAMP}[smoke]\n'messages.{{lost, refused}}' = {{ at_most = 2 }}\n"
    bounds = read(tmp_path, text).bounds_of("smoke")
    assert [(bound.key, bound.at_most) for bound in bounds] == [("messages.lost", 2), ("messages.refused", 2)]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Whoever names a file that is not there reads its name."""
    with pytest.raises(SloError, match=r"gone\.toml cannot be read"):
        read_slo(tmp_path / "gone.toml")


def test_a_scenario_without_a_table_has_no_verdict(tmp_path: Path) -> None:
    """Without objectives there is nothing to meet, and that is no pass."""
    slo = read(tmp_path, f"version = 1\n{RAMP}[smoke]\n{LINE}")
    with pytest.raises(SloError, match=r"no table \[steady\]"):
        slo.bounds_of("steady")


def test_the_exit_codes_are_the_promised_ones() -> None:
    """0 met, 1 missed, 2 invalid, 3 could not run."""
    assert {verdict.value: code for verdict, code in EXIT_CODES.items()} == {
        "met": 0,
        "missed": 1,
        "invalid": 2,
        "failed": 3,
    }
