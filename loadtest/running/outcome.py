"""What is left of a run: it is judged, written into its folder, and told in a few last lines.

Whatever happened, there is a result: also of a run that was interrupted, and of one that could not begin.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from loadtest.crowd.crowd import Room
from loadtest.gate.findings import breaking_point
from loadtest.gate.slo import Slo
from loadtest.gate.verdict import judge
from loadtest.report.outputs import write_reports
from loadtest.report.result import EXIT_CODES, Result, Verdict
from loadtest.running.gathering import gather
from loadtest.running.options import Options
from loadtest.running.record import Record
from loadtest.scenarios.catalogue import SCENARIOS
from loadtest.scenarios.plan import Plan
from loadtest.watch.fingerprint import fingerprint

FOLDER: Final = Path("build") / "load"
_MARKS: Final = {True: "met   ", False: "MISSED"}


def folder_of(options: Options) -> Path:
    """Return the folder that was asked for, or a new one with the scenario and the time as its name; it is made."""
    now = datetime.now(UTC)
    folder = options.out or FOLDER / f"{options.scenario}-{now:%Y%m%dT%H%M%SZ}"
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    return folder


def conclude(plan: Plan, record: Record, rooms: Sequence[Room], options: Options, slo: Slo) -> Result:
    """Return the judged result."""
    result = gather(
        plan,
        record,
        rooms,
        title=SCENARIOS[plan.scenario].title,
        clock_budget_ms=options.clock_budget_ms,
        even=options.even,
        environment=fingerprint(),
    )
    if plan.ramp:
        ended_by = record.passages[-1].broke if record.passages else []
        whole = result.stages[:-1] if record.interrupted else result.stages  # the last one was cut short
        point = breaking_point(whole, slo, result.users.asked, ended_by=ended_by)
        result = msgspec.structs.replace(result, findings=[point])
    result = judge(result, slo)
    if record.broken:
        result = _with_broken(result, record.broken)
    return result


def _with_broken(result: Result, broken: Sequence[str]) -> Result:
    """A system of which a part ended by itself has missed, whatever else was measured."""
    verdict = Verdict.MISSED if result.verdict is Verdict.MET else result.verdict
    return msgspec.structs.replace(result, verdict=verdict, reasons=[*result.reasons, *broken])


def publish(result: Result, folder: Path) -> list[str]:
    """Write the reports, and return the last lines: the verdict, the objectives, and where everything lies."""
    written = write_reports(result, folder)
    if folder.parent == FOLDER:
        from loadtest.report.index import write_index  # noqa: PLC0415 - matplotlib takes a second to import

        write_index(FOLDER)
    lines = [""]
    lines += [f"  {_MARKS[objective.met]}  {objective.words}" for objective in result.objectives]
    lines += [f"  found   {finding.words}" for finding in result.findings]
    lines += ["", f"{result.scenario}: {result.verdict.value.upper()} (exit code {EXIT_CODES[result.verdict]})"]
    if result.verdict in {Verdict.INVALID, Verdict.FAILED}:
        lines += [f"  {reason}" for reason in result.reasons]
    page = next((path for path in written if path.suffix == ".html"), folder)
    return [*lines, f"  {page}"]
