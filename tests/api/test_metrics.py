"""What the API counts: answers by status, time by operation, mails, and whether its database is there."""

from prometheus_client.parser import text_string_to_metric_families

from api.metrics.exposition import render_page
from tests.api.memory_api import MemoryApi


async def read(api: MemoryApi) -> dict[tuple[str, str | None], float]:
    """Every sample, by its name and the word of its label."""
    page = (await render_page(api.services, openmetrics=False)).text.decode()
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    return {
        (each.name, next((word for label, word in each.labels.items() if label != "le"), None)): each.value
        for each in samples
    }


async def test_requests_are_counted(api: MemoryApi) -> None:
    """By what they asked for and how they were answered. A path that is not there makes no label of its own."""
    await api.ask("GET", "/v1/health")
    for path in ("/secret-path", "/another"):
        await api.ask("GET", path)
    found = await read(api)
    assert found["varde_api_answers_total", "200"] == 1
    assert found["varde_api_answers_total", "404"] == 2
    assert found["varde_api_request_seconds_count", "none"] == 2
    assert not any("secret" in str(key) for key in found)
    assert found["varde_api_connections", None] == 1


async def test_a_database_and_a_mail_server_that_are_away_are_seen(api: MemoryApi) -> None:
    """As gauge and as counts, so that an alert can tell."""
    assert (await read(api))["varde_api_database_up", None] == 1
    api.mail.down = True
    await api.ask("POST", "/v1/auth/codes", json={"email": "somebody@example.org"})
    with api.interference.outage():
        await api.ask("POST", "/v1/auth/codes", json={"email": "else@example.org"})
        found = await read(api)
    assert found["varde_api_database_up", None] == 0
    assert found["varde_api_store_unavailable_total", None] == 1
    assert found["varde_api_mails_total", "failed"] == 1
