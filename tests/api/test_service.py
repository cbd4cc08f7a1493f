"""The service itself over HTTP, and what every answer carries."""

from tests.api.memory_api import MemoryApi


async def test_health_and_readiness(api: MemoryApi) -> None:
    """A load balancer hears that the process runs and can serve."""
    assert (await api.ask("GET", "/v1/health")).json() == {"status": "ok"}
    assert (await api.ask("GET", "/v1/ready")).json() == {
        "ready": True,
        "database": True,
        "schema": True,
        "bus": True,
    }


async def test_head_and_options_are_answered(api: MemoryApi) -> None:
    """HEAD is GET without the body; OPTIONS says what there is."""
    head = await api.ask("HEAD", "/v1/health")
    assert (head.status_code, head.content) == (200, b"")
    options = await api.ask("OPTIONS", "/v1/profiles")
    assert (options.status_code, set(options.headers["allow"].split(", "))) == (200, {"GET", "HEAD", "OPTIONS", "POST"})


async def test_every_answer_keeps_browsers_at_bay(api: MemoryApi) -> None:
    """Good or refused, an answer is not sniffed, framed, cached, or read by other sites."""
    for path in ("/v1/health", "/v1/account", "/v1/nothing"):
        headers = (await api.ask("GET", path, headers={"Origin": "https://evil.example"})).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers
