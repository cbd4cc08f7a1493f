"""Reports of errors: ten secrets are planted where the library looks, and none is in what would be sent."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk

from observability import surprises
from observability.surprises import note_surprise, set_up_reports

log = logging.getLogger("varde.test")
DSN = "http://public-key@127.0.0.1:9/1"  # the discard port: nothing leaves the process, it is taken before


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What would have gone to Sentry, as text."""
    monkeypatch.setattr(surprises, "_reports_to_sentry", False)
    set_up_reports(DSN, program="api", release="1")
    texts: list[str] = []
    transport = sentry_sdk.get_client().transport
    assert transport is not None
    monkeypatch.setattr(transport, "capture_envelope", lambda envelope: texts.append(envelope.serialize().decode()))
    yield texts
    sentry_sdk.get_client().close(timeout=0)
    sentry_sdk.init()  # without a DSN: nothing is reported by other tests


def fail(token: str) -> None:
    """Raise an error whose text, notes, cause, frames and surroundings hold secrets."""
    local = f"{token}-local"
    error = KeyError(f"{token}-text", local)
    error.add_note(f"{token}-note")
    error.__dict__["body"] = f"{token}-attribute"
    raise error from OSError(f"{token}-cause")


def test_a_report_says_where_and_nothing_else(sent: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """Type and places are there; text, notes, causes, variables, breadcrumbs, tags, users and log lines are not."""
    canary = "canary-7f3a"
    sentry_sdk.set_tag("tag", f"{canary}-tag")
    sentry_sdk.set_user({"id": f"{canary}-user", "ip_address": f"{canary}-address"})
    sentry_sdk.set_extra("extra", f"{canary}-extra")
    sentry_sdk.add_breadcrumb(message=f"{canary}-breadcrumb")
    log.error("a line with %s", f"{canary}-argument")
    try:
        fail(canary)
    except KeyError as error:
        note_surprise(log, "a request failed", error)
    assert len(sent) == 1
    assert canary not in sent[0]
    event: dict[str, Any] = json.loads(sent[0].splitlines()[-1])
    (exception,) = event["exception"]["values"]
    assert exception["type"] == "KeyError"
    assert [frame["function"] for frame in exception["stacktrace"]["frames"]][-1] == "fail"
    assert "a request failed: KeyError at test_surprises.py" in caplog.text
    assert f"{canary}-text" not in caplog.text


def test_nothing_is_captured_by_itself(sent: list[str]) -> None:
    """Only a fence reports. Log lines and errors that are handled are nobody's business."""
    log.error("handled", exc_info=OSError("a socket"))
    sentry_sdk.capture_message("by hand")
    assert sent == []


def test_a_bad_dsn_is_refused() -> None:
    """As a setting that cannot be followed."""
    with pytest.raises(ValueError, match="not a DSN"):
        set_up_reports("https://nobody.example", program="api", release="1")
