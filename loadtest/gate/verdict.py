"""The verdict on a run: INVALID before MISSED before MET."""

from typing import Final

import msgspec

from loadtest.gate.findings import findings_of
from loadtest.gate.slo import Slo
from loadtest.report.result import Result, Verdict

CPU_PERCENT: Final = 90.0  # of one core: a generator above it cannot say whether it was late itself
INTERRUPTED: Final = "interrupted"


def judge(result: Result, slo: Slo) -> Result:
    """Return the result with findings, objectives, verdict and reasons. Raises SloError for a scenario without a table.

    A run that FAILED stays what it is, with its reasons.
    """
    bounds = slo.bounds_of(result.scenario)
    result = msgspec.structs.replace(result, findings=findings_of(result, slo))
    objectives = [bound.judge(result) for bound in bounds]
    result = msgspec.structs.replace(result, objectives=objectives)
    if result.verdict is Verdict.FAILED:
        return result
    missed = [objective.words for objective in objectives if not objective.met]
    if invalid := _invalid(result):
        return msgspec.structs.replace(result, verdict=Verdict.INVALID, reasons=invalid)
    return msgspec.structs.replace(result, verdict=Verdict.MISSED if missed else Verdict.MET, reasons=missed)


def _invalid(result: Result) -> list[str]:
    """Return why nothing was learned. What the run itself put into `reasons` and `bottlenecks` is kept."""
    said = list(result.reasons) if result.verdict is Verdict.INVALID else []
    if result.interrupted and INTERRUPTED not in said:
        said.append(INTERRUPTED)
    generator, seen = result.generator, list(result.generator.bottlenecks)
    # Where nobody has named a bottleneck, the figures alone may make a run invalid.
    if not seen and generator.missing_workers:
        seen.append(f"{generator.missing_workers} of {generator.expected_workers} workers went missing")
    if not generator.bottlenecks and generator.cpu_max_percent > CPU_PERCENT:
        seen.append(f"a worker of the generator used {generator.cpu_max_percent:.0f} % of a core")
    return list(dict.fromkeys((*said, *seen)))
