"""Problem details: every refusal has a status, a body and the headers that go with it."""

import pytest
from werkzeug.exceptions import MethodNotAllowed, default_exceptions

from api.http.problems import headers_of, problem_of, refusal_of_exception, status_of
from varde_contract.refusals import RefusalCode, Refused


@pytest.mark.parametrize("code", RefusalCode)
def test_every_refusal_has_a_status_and_a_page(code: RefusalCode) -> None:
    """No word of the list is left out of the map, and each leads to its place in the documentation."""
    problem = problem_of(Refused(code, "what to do"))
    assert problem.status == status_of(code) >= 400
    assert problem.type == f"/v1/docs#{code}"
    assert problem.title
    assert problem.detail == "what to do"


def test_retry_after_is_in_whole_seconds_and_never_too_early() -> None:
    """The header says seconds: a client that obeys it has waited for the milliseconds as well."""
    assert headers_of(Refused(RefusalCode.RATE_LIMITED, "", retry_after_ms=1_001))["Retry-After"] == "2"
    assert headers_of(Refused(RefusalCode.RATE_LIMITED, "", retry_after_ms=1_000))["Retry-After"] == "1"
    assert "Retry-After" not in headers_of(Refused(RefusalCode.RATE_LIMITED, ""))


@pytest.mark.parametrize("code", RefusalCode)
def test_only_missing_credentials_are_challenged(code: RefusalCode) -> None:
    """RFC 9110 section 11.6.1: an answer with 401 says which scheme opens the door."""
    assert ("WWW-Authenticate" in headers_of(Refused(code, ""))) == (status_of(code) == 401)


@pytest.mark.parametrize("status", sorted(default_exceptions))
def test_every_exception_of_the_framework_is_a_refusal(status: int) -> None:
    """Whatever Quart raises by itself is answered in the one form, and a fault of ours is not blamed on the client."""
    refused, _ = refusal_of_exception(default_exceptions[status]())
    expected = {501: 400, 502: 500, 503: 500, 504: 500, 505: 500}.get(status, status)
    exact = {404, 405, 408, 413, 415, 500}
    assert status_of(refused.code) == (expected if expected in exact else 413 if status == 431 else 400)


def test_an_exception_keeps_the_methods_that_are_allowed() -> None:
    """RFC 9110 section 15.5.6: an answer with 405 lists what the path does take."""
    _, headers = refusal_of_exception(MethodNotAllowed(["POST", "GET"]))
    assert headers == {"Allow": "GET, POST"}
