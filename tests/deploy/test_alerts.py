"""The alerts: each has a test and a way out, and none names a metric that is not there.

That Prometheus takes them is judged with everything else that is shipped, in `tests/operations/test_deploy_check.py`.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.metrics import exposition as api
from relay.metrics import exposition as relay
from worker import metrics as worker

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
RUNBOOK = DEPLOY.parent / "docs" / "operations" / "runbook.md"


def read(path: Path) -> Any:
    """A file of YAML."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    """Every rule there is."""
    return [rule for group in read(PROMETHEUS / "alerts.yml")["groups"] for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]


@pytest.mark.parametrize("rule", ALERTS, ids=[rule["alert"] for rule in ALERTS])
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    """It has a weight, a sentence, and an entry in the runbook that names it."""
    assert rule["labels"]["severity"] in {"page", "ticket"}
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert DEPLOY.parent / page == RUNBOOK
    headings = {
        heading.lower().replace(" ", "-"): heading for heading in re.findall(r"^## (.*)$", text(), re.MULTILINE)
    }
    assert anchor in headings
    assert rule["alert"] in text()


def text() -> str:
    """The runbook."""
    return RUNBOOK.read_text(encoding="utf-8")


def test_every_alert_is_tested_both_ways() -> None:
    """Once it fires, and once everything is well and it is silent."""
    tests = [test for path in PROMETHEUS.glob("*alerts_test.yml") for test in read(path)["tests"]]
    asked = [each for test in tests for each in test["alert_rule_test"]]
    names = {rule["alert"] for rule in ALERTS}
    assert {each["alertname"] for each in asked if each["exp_alerts"]} == names
    assert {each["alertname"] for each in asked if not each["exp_alerts"]} == names


def test_only_metrics_that_exist_are_asked_for() -> None:
    """An alert on a metric that was renamed would be silent for ever."""
    known = {row.name for rows in (relay.DEFINITIONS, api.DEFINITIONS, worker.DEFINITIONS) for row in rows}
    named = {
        name.removesuffix("_bucket")
        for rule in rules()
        for name in re.findall(r"\b(?:varde|process)_\w+", rule["expr"])
    }
    pattern = "varde_"  # of the expression that asks for the databases of all programs at once
    assert {name for name in named if name != pattern} <= known, named - known
