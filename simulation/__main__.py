"""`python -m simulation`: run seeds, print what was found, and write build/simulate.json."""

import argparse
import json
import logging
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any, Final, Self

from simulation.coverage import rows
from simulation.determinism import Stopwatch
from simulation.mutants import MUTANTS, Mutant
from simulation.options import expand, schedule
from simulation.run import Report, simulate, start_of_all
from simulation.shrink import shrink
from varde_contract.close_codes import CloseCode
from varde_contract.refusals import RefusalCode

OUTPUT: Final = Path("build/simulate.json")
RUN_TWICE: Final = 5
"""Seeds that are run once more in another process, with another PYTHONHASHSEED: the logs must be the same."""
MUTANT_SEEDS: Final = 30
"""Seeds with which a mutant must be found."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says; 0 when nothing was violated, and every mutant that was asked for is found."""
    options = _parser().parse_args(arguments)
    logging.disable(logging.CRITICAL)  # the servers log what is done to them
    seeds = range(options.first, options.first + options.seeds)
    if options.print_options:
        for seed in seeds:
            _say(f"seed {seed}: {expand(seed)}")
            for step in schedule(seed, expand(seed), options.hours) if options.log else ():
                _say(f"  {step}")
        return 0
    if options.digests:
        for seed in seeds:
            _say(f"{seed} {simulate(seed, options.hours).digest}")
        return 0
    reports = _run_seeds(seeds, options)
    failures = [_explain(report, shrink_it=options.shrink) for report in reports if report.violations]
    different = _run_twice(reports[:RUN_TWICE], options.hours)
    mutants = [_hunt(mutant, options) for mutant in MUTANTS] if options.mutants else []
    result = _result(reports, options, failures=failures, different=different, mutants=mutants)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for line in rows(*coverage_of(reports)):
        _say(line)
    found = sum(each["found"] for each in mutants)
    hours = result["virtual_hours"]
    _say(
        f"simulation: {len(reports)} seeds, {hours:g} virtual hours in {result['cpu_seconds']:.0f} s of CPU"
        f" ({result['cpu_seconds_most']:.1f} s at most),"
        f" {result['violations']} violations, {len(different)} not repeatable, {found} of {len(mutants)} mutants found"
    )
    return 1 if failures or different or found < len(mutants) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many (default: 20)")
    parser.add_argument("--from", dest="first", type=int, default=1, help="the first one (default: 1)")
    parser.add_argument("--hours", type=float, default=1.0, help="virtual hours of each (default: 1)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--print-options", action="store_true", help="only say what the seeds expand to")
    parser.add_argument("--log", action="store_true", help="print the log of each seed, or its steps")
    parser.add_argument("--mutants", action="store_true", help="plant bugs, and see whether they are found")
    parser.add_argument("--no-shrink", dest="shrink", action="store_false", help="leave failing schedules as they are")
    parser.add_argument("--digests", action="store_true", help=argparse.SUPPRESS)
    return parser


def _run_seeds(seeds: range, options: argparse.Namespace) -> list[Report]:
    run = partial(simulate, hours=options.hours)
    reports = []
    with ProcessPoolExecutor(options.jobs) if options.jobs > 1 else _NoPool() as pool:
        for report in pool.map(run, seeds):
            reports.append(report)
            counts = " ".join(f"{name}={count}" for name, count in sorted(report.counts.items()))
            _say(f"seed {report.seed}: {counts}, {len(report.violations)} violations, {report.cpu:.1f} s of CPU")
            if options.log:
                _say("\n".join(f"  {line}" for line in report.lines))
    return reports


class _NoPool:
    """As a pool of one process, which is this one."""

    map = staticmethod(map)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _explain(report: Report, *, shrink_it: bool) -> dict[str, Any]:
    """Print a failing seed as somebody needs it who looks for the bug."""
    _say(f"seed {report.seed} fails (commit {_commit()}): {report.options}")
    for violation in report.violations[:10]:
        _say(f"  {violation}")
    steps = report.steps
    if shrink_it:
        steps = shrink(
            steps, lambda fewer: bool(simulate(report.seed, report.hours, steps=fewer, eager=True).violations)
        )
    _say(f"  {len(steps)} of {len(report.steps)} steps are enough:")
    for step in steps:
        _say(f"    {step}")
    return {
        "seed": report.seed,
        "commit": _commit(),
        "options": str(report.options),
        "violations": list(report.violations),
        "steps": [str(step) for step in steps],
    }


def _run_twice(reports: Sequence[Report], hours: float) -> list[int]:
    """Return the seeds whose log is another one in another process."""
    if not reports:
        return []
    command = [sys.executable, "-m", "simulation", "--digests", "--seeds", str(len(reports))]
    command += ["--from", str(reports[0].seed), "--hours", str(hours)]
    environ = {**os.environ, "PYTHONHASHSEED": str(reports[0].seed % 1_000 + 1)}
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env=environ).stdout  # noqa: S603
    again = dict(line.split() for line in printed.splitlines())
    different = [report.seed for report in reports if again[str(report.seed)] != report.digest]
    for seed in different:
        _say(f"seed {seed} is not repeatable: its log is another one in another process")
    return different


def _hunt(mutant: Mutant, options: argparse.Namespace) -> dict[str, Any]:
    """Run seeds with a bug planted until it is found."""
    start_of_all()  # before the bug comes in: it belongs to what is simulated, not to how it begins
    stopwatch = Stopwatch()
    seeds = (seed for seed in count(options.first) if mutant.may_show(expand(seed)))
    for seed in islice(seeds, MUTANT_SEEDS):
        with mutant.planted():
            report = simulate(seed, options.hours, eager=True)
        if report.violations:
            _say(f"mutant {mutant.name}: found in {stopwatch.seconds:.1f} s by seed {seed}: {report.violations[0]}")
            found = {"seed": seed, "violation": report.violations[0]}
            return {"name": mutant.name, "found": True, "seconds": round(stopwatch.seconds, 1), **found}
    _say(f"mutant {mutant.name}: NOT found with {MUTANT_SEEDS} seeds in {stopwatch.seconds:.1f} s: {mutant.what}")
    return {"name": mutant.name, "found": False, "seconds": round(stopwatch.seconds, 1)}


def coverage_of(reports: Sequence[Report]) -> tuple[Counter[str], Counter[str]]:
    """Return what all of these seeds reached together: refusals, and close codes."""
    refusals: Counter[str] = sum((report.refusals for report in reports), Counter())
    return refusals, sum((report.closes for report in reports), Counter())


def _result(
    reports: Sequence[Report],
    options: argparse.Namespace,
    *,
    failures: list[dict[str, Any]],
    different: list[int],
    mutants: list[dict[str, Any]],
) -> dict[str, Any]:
    counts: Counter[str] = sum((report.counts for report in reports), Counter())
    cpu = sum(report.cpu for report in reports)
    hours = sum(report.hours for report in reports)
    refusals, closes = coverage_of(reports)
    return {
        "seeds": len(reports),
        "from": options.first,
        "commit": _commit(),
        "virtual_hours": hours,
        "violations": sum(len(report.violations) for report in reports),
        "not_repeatable": different,
        "cpu_seconds": round(cpu, 1),
        "cpu_seconds_per_hour": round(cpu / hours, 2) if hours else 0.0,
        "cpu_seconds_most": round(max((report.cpu for report in reports), default=0.0), 2),
        "longest_convergence_s": max((report.converged for report in reports), default=0.0),
        "counts": dict(counts),
        "failures": failures,
        "mutants": {"planted": len(mutants), "found": sum(each["found"] for each in mutants), "each": mutants},
        "coverage": {
            "refusals": {code.value: refusals[code.value] for code in RefusalCode},
            "close_codes": {code.label: closes[code.label] for code in CloseCode},
        },
    }


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
