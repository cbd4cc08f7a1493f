"""`python -m bench` as a person uses it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.dimensions import DIRECT, FANOUT, IDLE
from bench.durable.measure import SERVERS
from bench.run import DIMENSIONS, QUICK, Options, steps_of
from bench.server import CATALOGUE, DURABLE_PEERS, VARDE, Missing, install, tree_of

BENCH = (sys.executable, "-m", "bench")


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run((*BENCH, *arguments), capture_output=True, text=True, timeout=60, check=False)


def test_help_explains_itself() -> None:
    """Every server, every dimension, every option and the page that says more are in the help."""
    said = bench("--help")
    assert said.returncode == 0
    for word in (
        *CATALOGUE,
        *DURABLE_PEERS,
        *DIMENSIONS,
        "--quick",
        "--only",
        "--servers",
        "--publish",
        "docs/benchmarks.md",
    ):
        assert word in said.stdout


def test_each_server_that_keeps_messages_can_be_asked_for() -> None:
    """The names of the command line are those of the durable dimension."""
    assert (VARDE, *DURABLE_PEERS) == tuple(SERVERS)


@pytest.mark.parametrize(("option", "name"), [("--only", "fan-in"), ("--servers", "apache")])
def test_an_unknown_name_is_refused_with_those_there_are(option: str, name: str) -> None:
    """A word that is no dimension or server ends it before anything is started."""
    said = bench(option, name)
    assert said.returncode == 2
    assert f"{name} is not one of" in said.stderr


def test_a_report_of_nothing_says_what_to_do(tmp_path: Path) -> None:
    """Without results there is one line that tells how to get some."""
    said = bench("--report", "--output", str(tmp_path))
    assert said.returncode == 1
    assert "run `make bench` first" in said.stderr


def test_stopping_keeps_what_was_measured(tmp_path: Path) -> None:
    """After Ctrl-C in the second step, the first one's figures are on disk and in the table, and no server is left."""
    command = (*BENCH, "--quick", "--only", "fanout", "--servers", "epoll-floor", "--output", str(tmp_path))
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "saturated" not in process.stderr.readline():
            assert process.poll() is None
        family = tree_of(process.pid)[1:]
        process.send_signal(signal.SIGINT)
        table, said = process.communicate(timeout=60)
    results = json.loads((tmp_path / "bench.json").read_bytes())
    assert process.returncode == 130
    assert "stopped" in said
    assert "epoll floor" in table
    assert results["fanout"]["epoll-floor"]["light"]["us_per_delivery"] > 0
    assert (results["run"]["complete"], results["machine"]["cores"]) == (False, len(os.sched_getaffinity(0)))
    assert not [each for each in family if each.is_running()]


def test_a_program_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Node.js its server is left out, with the words how to get it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("node") is None
    with pytest.raises(Missing, match="apt-get install nodejs"):
        install(CATALOGUE["node-ws"], tmp_path)


def test_rounds_are_outermost() -> None:
    """Each server is measured once before any is measured again, so that drift meets all alike."""
    entries = list(CATALOGUE.values())[:3]
    pace = Options(rounds=2).pace
    order = [step.entry.name for step in steps_of(pace, entries, (FANOUT,), tls=False)]
    turns = [name for place, name in enumerate(order) if place == 0 or order[place - 1] != name]
    assert turns == [entry.name for entry in entries] * 2


def test_every_window_has_a_server_of_its_own() -> None:
    """What a saturated server still has to do burdens no other window: none is measured in the same process."""
    steps = steps_of(Options().pace, list(CATALOGUE.values())[:1], (FANOUT, DIRECT), tls=False)
    assert len({step.words for step in steps}) * Options().pace.rounds == len(steps)
    assert all(re.fullmatch(r"(light|saturated), rooms of \d+|direct", step.words) for step in steps)


def test_a_quick_run_fits_a_minute() -> None:
    """Of `make bench QUICK=1`, what is measured in fixed windows leaves most of the minute to the rest."""
    entries = [CATALOGUE["varde"], CATALOGUE["picows"]]
    windows = dict.fromkeys((FANOUT, DIRECT), QUICK.warm_up + QUICK.window) | {IDLE: QUICK.idle_window}
    steps = steps_of(QUICK, entries, DIMENSIONS, tls=False)
    assert sum(windows.get(step.dimension, 0.0) for step in steps) < 15
    assert len(steps) == len(entries) * 5
