"""The verdict on a run: INVALID before MISSED before MET."""

from typing import Final

import msgspec

from loadtest.exits import Verdict
from loadtest.gate.findings import findings_of
from loadtest.gate.slo import Slo
from loadtest.report.result import Result

CPU_PERCENT: Final = 90.0  # of one core: a generator above it cannot say whether it was late itself
INTERRUPTED: Final = "interrupted"


def judge(result: Result, slo: Slo) -> Result:
    """Return the result with findings, objectives, verdict and reasons. Raises SloError for a scenario without a table.

    A run that FAILED stays what it is, with its reasons.
    """
    bounds = slo.bounds_of(result.scenario)
    result = msgspec.structs.replace(result, findings=findings_of(result, slo))
    objectives = [bound.judge(result) for bound in bounds]
    verdict, reasons = result.verdict, result.reasons
    if verdict is not Verdict.FAILED:
        verdict, reasons = Verdict.INVALID, _invalid(result)
        if not reasons:
            reasons = [objective.words for objective in objectives if not objective.met]
            verdict = Verdict.MISSED if reasons else Verdict.MET
    return msgspec.structs.replace(result, objectives=objectives, verdict=verdict, reasons=reasons)


def _invalid(result: Result) -> list[str]:
    """Return why nothing was learned. What the run itself put into `reasons` and `bottlenecks` is kept."""
    said = list(result.reasons) if result.verdict is Verdict.INVALID else []
    said += [INTERRUPTED] * result.interrupted
    generator = result.generator
    said += generator.bottlenecks
    # Where nobody has named a bottleneck, the figures alone may make a run invalid.
    if not generator.bottlenecks and generator.missing_workers:
        said.append(f"{generator.missing_workers} of {generator.expected_workers} workers went missing")
    if not generator.bottlenecks and generator.cpu_max_percent > CPU_PERCENT:
        said.append(f"a worker of the generator used {generator.cpu_max_percent:.0f} % of a core")
    return list(dict.fromkeys(said))
