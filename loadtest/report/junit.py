"""The objectives of a run as tests, for what shows those of a build."""

from typing import Final
from xml.etree import ElementTree as ET

from loadtest.report.result import Objective, Result, Verdict

NAME: Final = "varde.load"


def junit_of(result: Result) -> str:
    """Return the XML: a failure for what was missed, an error for a run that is invalid or did not come to be."""
    suite = ET.Element("testsuite", name=f"{NAME}.{result.scenario}", timestamp=result.started.removesuffix("Z"))
    suite.append(_run(result))
    suite.extend(_objective(result, each) for each in result.objectives)
    for count, kind in (("tests", "testcase"), ("failures", "testcase/failure"), ("errors", "testcase/error")):
        suite.set(count, str(len(suite.findall(kind))))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    suite.set("time", f"{result.seconds:.3f}")
    suites = ET.Element("testsuites", name=NAME)
    suites.append(suite)
    ET.indent(suites)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ET.tostring(suites, encoding='unicode')}\n"


def _run(result: Result) -> ET.Element:
    case = _case(result, "the run is valid", result.seconds)
    if result.verdict in {Verdict.INVALID, Verdict.FAILED}:
        _outcome(case, "error", result.verdict.value, "\n".join(result.reasons) or "it gave no reason")
    return case


def _objective(result: Result, objective: Objective) -> ET.Element:
    case = _case(result, objective.key, 0.0)
    bound = f"{'at least' if objective.at_least else 'at most'} {objective.limit:g}"
    measured = "nothing" if objective.measured is None else f"{objective.measured:g}"
    if result.verdict in {Verdict.INVALID, Verdict.FAILED}:
        _outcome(case, "skipped", f"the run is {result.verdict.value}", "")
    elif not objective.met:
        floor = "" if objective.floor is None else f"; the hard floor is {objective.floor:g}"
        _outcome(case, "failure", f"measured {measured}, should be {bound}", f"{objective.words}{floor}")
    return case


def _case(result: Result, name: str, seconds: float) -> ET.Element:
    return ET.Element("testcase", classname=f"{NAME}.{result.scenario}", name=_clean(name), time=f"{seconds:.3f}")


def _outcome(case: ET.Element, kind: str, message: str, text: str) -> None:
    ET.SubElement(case, kind, message=_clean(message)).text = _clean(text)


def _clean(text: str) -> str:
    """XML 1.0 has no control characters."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)
