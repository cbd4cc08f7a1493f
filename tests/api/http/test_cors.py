"""Cross-origin requests: pages of the origins that are named may call the API, and no others."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from tests.api.memory_api import CONFIG, MemoryApi, open_memory_api
from tests.cast import alice_phone

OURS = "https://chat.example.org"
OTHERS = "https://chat.example.org.evil.example"


@pytest.fixture
async def web() -> AsyncIterator[MemoryApi]:
    """An API that a web client of another origin may call."""
    async with open_memory_api(replace(CONFIG, origins=frozenset({OURS, "http://localhost:5173"}))) as opened:
        yield opened


def granted(response: httpx.Response) -> dict[str, str]:
    """What an answer allows."""
    prefix = "access-control-"
    return {name.removeprefix(prefix): value for name, value in response.headers.items() if name.startswith(prefix)}


async def preflight(api: MemoryApi, origin: str, path: str = "/v1/profiles") -> httpx.Response:
    """Ask as a browser does before a request with a token and JSON."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    return await api.ask("OPTIONS", path, headers={"Origin": origin, **asked})


@pytest.mark.parametrize("origin", [OURS, "http://localhost:5173"])
async def test_a_preflight_of_an_allowed_origin(web: MemoryApi, origin: str) -> None:
    """It names the origin that asked, the methods of that path, and the two headers that requests need."""
    response = await preflight(web, origin)
    assert response.status_code == 200
    assert response.headers["vary"] == "Origin"
    assert granted(response) == {
        "allow-origin": origin,
        "allow-methods": response.headers["allow"],
        "allow-headers": "Authorization, Content-Type",
        "max-age": "7200",
    }
    assert "POST" in granted(response)["allow-methods"]


async def test_an_answer_can_be_read(web: MemoryApi) -> None:
    """A good answer and a refusal alike, with the headers that say what to do; credentials are never allowed."""
    good = await web.ask("GET", "/v1/account", by=alice_phone, headers={"Origin": OURS})
    bad = await web.ask("GET", "/v1/account", headers={"Origin": OURS})
    lost = await web.ask("GET", "/v1/nowhere", headers={"Origin": OURS})
    assert [each.status_code for each in (good, bad, lost)] == [200, 401, 404]
    told = {"allow-origin": OURS, "expose-headers": "Allow, Retry-After, WWW-Authenticate"}
    assert [granted(each) for each in (good, bad, lost)] == [told] * 3


@pytest.mark.parametrize("origin", [OTHERS, "null", "*", OURS.upper(), OURS + "/", "http://chat.example.org"])
async def test_another_origin_is_granted_nothing(web: MemoryApi, origin: str) -> None:
    """Neither a preflight nor an answer; what is no browser is answered as ever."""
    assert granted(await preflight(web, origin)) == {}
    response = await web.ask("GET", "/v1/account", by=alice_phone, headers={"Origin": origin})
    assert (response.status_code, granted(response), response.headers["vary"]) == (200, {}, "Origin")


async def test_without_the_setting_nobody_is_granted_anything(api: MemoryApi) -> None:
    """The answers are those of an API that knows of no web page."""
    assert granted(await preflight(api, OURS)) == {}
    assert "vary" not in (await api.ask("GET", "/v1/account", by=alice_phone, headers={"Origin": OURS})).headers
