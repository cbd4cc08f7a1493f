"""Calls to the API: repeated where that is harmless, bounded, refused with a name, and signed in."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

import httpx
import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.cast import alice_laptop
from tests.ids import id_of
from tests.varde.endpoints import endpoint, memory_store
from tests.varde.fake_api import CODE, URL, FakeApi, No
from varde import rest as calls
from varde.errors import Busy, CodeRefused, NotAllowed, NotFound, Refusal, SignedOut, Unreachable, VardeError
from varde.http import RESPONSE_BYTES, Http
from varde.prekeys import FALLBACK_AGE_MS, fill_prekeys
from varde.rest import SESSION, AccessTokens, Rest
from varde.store import Store
from varde_contract.ids import DeviceId
from varde_contract.limits import ONE_TIME_KEYS_PER_DEVICE
from varde_contract.refusals import RefusalCode, StaleDevices
from varde_contract.rest.people import PrekeyCount, PrekeyUpload
from varde_contract.rest.problems import PROBLEM_MEDIA_TYPE, Health, Problem

Future = httpx.Response | Exception


class Script:
    """Answers in order, the last one for ever; every request is kept."""

    def __init__(self, *answers: Callable[[], Future]) -> None:
        self.requests: list[httpx.Request] = []
        self._answers = answers

    def http(self) -> Http:
        """A client that is answered by this."""
        return Http(URL, transport=httpx.MockTransport(self._handle))

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers[min(len(self.requests), len(self._answers)) - 1]()
        if isinstance(answer, Exception):
            raise answer
        return answer


def fine() -> Future:
    """An answer."""
    return httpx.Response(200, json={"status": "fine"})


def away() -> Future:
    """No answer."""
    return httpx.ConnectError("no route to host 10.1.2.3")


def busy(retry_after_ms: int | None = None) -> Callable[[], Future]:
    """Not now."""
    return lambda: No(503, RefusalCode.UNAVAILABLE, retry_after_ms).response


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("bad", [away, busy(), busy(50)])
async def test_a_harmless_call_is_repeated(autojump_clock: MockClock, method: str, bad: Callable[[], Future]) -> None:
    """A call that may be made twice is, until it is answered."""
    script = Script(bad, bad, fine)
    async with script.http() as http:
        assert (await http.call(method, "/", Health)).status == "fine"
    assert len(script.requests) == 3


async def test_not_for_ever(autojump_clock: MockClock) -> None:
    """After three tries it is told to the caller."""
    script = Script(away)
    async with script.http() as http:
        with pytest.raises(Unreachable):
            await http.call("GET", "/", Health)
    assert len(script.requests) == 3


async def test_a_long_wait_is_the_callers(autojump_clock: MockClock) -> None:
    """A server that asks for a minute is not waited for here: the caller is told how long."""
    script = Script(busy(60_000))
    async with script.http() as http:
        with pytest.raises(Busy) as caught:
            await http.call("GET", "/", Health)
    assert caught.value.retry_after_ms == 60_000
    assert len(script.requests) == 1


async def test_a_post_is_made_once_unless_said_otherwise(autojump_clock: MockClock) -> None:
    """What may not happen twice is not repeated."""
    for repeat, tries in ((None, 1), (False, 1), (True, 3)):
        script = Script(away)
        async with script.http() as http:
            with pytest.raises(Unreachable):
                await http.call("POST", "/", Health, body=Health(), repeat=repeat)
        assert len(script.requests) == tries


async def test_a_server_that_never_answers_is_left(autojump_clock: MockClock) -> None:
    """Half a minute, and the call is over."""

    async def sleep(_: httpx.Request) -> httpx.Response:
        await trio.sleep_forever()
        raise AssertionError

    async with Http(URL, transport=httpx.MockTransport(sleep)) as http:
        with pytest.raises(Unreachable):
            await http.call("POST", "/", Health)
    assert trio.current_time() <= 60


async def test_an_answer_without_end_is_cut() -> None:
    """More than any answer should be is not read."""
    read = count()

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self):  # type: ignore[no-untyped-def]  # noqa: ANN204 - an async generator
            while True:
                next(read)
                await trio.lowlevel.checkpoint()
                yield bytes(RESPONSE_BYTES // 4)

    script = Script(lambda: httpx.Response(200, stream=Endless()))
    async with script.http() as http:
        with pytest.raises(Unreachable):
            await http.call("POST", "/", Health)
    assert next(read) <= 6


@given(
    content=st.binary(max_size=60),
    status=st.sampled_from([200, 201, 204, 302, 400, 404, 500, 503]),
    problem=st.booleans(),
)
async def test_nonsense_is_unreachable(content: bytes, status: int, *, problem: bool) -> None:
    """Whatever a server answers, the caller gets the body it asked for or an error with a name."""
    headers = {"content-type": PROBLEM_MEDIA_TYPE if problem else "text/html"}
    async with Script(lambda: httpx.Response(status, headers=headers, content=content)).http() as http:
        with pytest.raises(VardeError):
            await http.call("POST", "/", PrekeyCount)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (RefusalCode.UNAUTHENTICATED, SignedOut),
        (RefusalCode.CODE_EXPIRED, CodeRefused),
        (RefusalCode.PROFILE_NOT_ALLOWED, NotAllowed),
        (RefusalCode.NOT_FOUND, NotFound),
        (RefusalCode.CLAIM_LIMIT, Busy),
        (RefusalCode.LAST_OWNER, Refusal),
    ],
)
async def test_a_refusal_has_its_kind(code: RefusalCode, kind: type[Refusal]) -> None:
    """A problem of the API is raised as the error its code belongs to, with what to do."""
    stale = StaleDevices(4, missing=(DeviceId(id_of(1)),))
    problem = Problem("about:blank", "No", 400, code, "Do this.", 700, stale)
    answer = httpx.Response(
        400, headers={"content-type": PROBLEM_MEDIA_TYPE + "; charset=utf-8"}, content=msgspec.json.encode(problem)
    )
    async with Script(lambda: answer).http() as http:
        with pytest.raises(Refusal) as caught:
            await http.call("POST", "/", Health)
    assert type(caught.value) is kind
    assert (caught.value.code, str(caught.value)) == (code.value, f"{code.value}: Do this.")
    assert ("varde.sign_in_again" if kind is SignedOut else "Do this.") in caught.value.advice
    assert (caught.value.retry_after_ms, caught.value.stale) == (700, stale)


async def test_errors_and_logs_name_no_addresses(caplog: pytest.LogCaptureFixture) -> None:
    """Neither an error's text nor a log line holds where it went, nor ids, nor tokens."""
    caplog.set_level(logging.INFO)
    async with Script(away).http() as http:
        with pytest.raises(Unreachable) as caught:
            await http.call("POST", f"/v1/conversations/{id_of(77)}", Health, token="secret-token")
    assert "10.1.2.3" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert str(id_of(77)) not in caplog.text
    assert "secret-token" not in caplog.text


@pytest.fixture
def store() -> Store:
    """A store with the keys of a device, and nobody signed in."""
    return endpoint(alice_laptop).store


async def signed_in(api: FakeApi, store: Store, http: Http) -> AccessTokens:
    """A session."""
    tokens = await calls.sign_in(http, "alice@example.org", CODE)
    with store.transaction():
        store.settings.put(SESSION, tokens)
    return AccessTokens(store, http)


async def test_an_old_token_is_refreshed_once_for_all(store: Store) -> None:
    """However many calls find the token too old, one refresh serves them all: a second would end the session."""
    api = FakeApi()
    api.lifetime = timedelta(seconds=30)
    async with Http(URL, transport=api.transport) as http:
        rest = Rest(http, await signed_in(api, store, http))
        api.lifetime = timedelta(hours=1)
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(rest.account)
    assert [call.path for call in api.calls].count("/v1/auth/session/refresh") == 1
    assert [call.path for call in api.calls].count("/v1/account") == 8


async def test_a_token_that_turns_out_to_be_old_is_refreshed(store: Store) -> None:
    """A clock that is wrong is no reason to fail: the server says so, and the call is made again."""
    api = FakeApi()
    async with Http(URL, transport=api.transport) as http:
        rest = Rest(http, await signed_in(api, store, http))
        for tokens in list(api.sessions.values()):
            expired = msgspec.structs.replace(tokens, access_expires_at=datetime(2026, 1, 1, tzinfo=UTC))
            api.sessions[tokens.access_token] = expired
        assert (await rest.account()).account == api.account
    assert [call.path for call in api.calls][-3:] == ["/v1/account", "/v1/auth/session/refresh", "/v1/account"]


async def test_a_session_that_is_over_is_said_to_be() -> None:
    """Without a session every call says so, and none is made."""
    api = FakeApi()
    async with Http(URL, transport=api.transport) as http:
        with pytest.raises(SignedOut):
            await Rest(http, AccessTokens(memory_store(), http)).account()
    assert not api.calls


async def test_a_refresh_is_not_torn_by_cancellation(store: Store) -> None:
    """A caller that gives up in the middle of a refresh does not lose the session."""
    api = FakeApi()
    api.lifetime = timedelta(seconds=30)
    async with Http(URL, transport=api.transport) as http:
        access = await signed_in(api, store, http)
        with trio.CancelScope() as scope:
            api.drop = lambda call: bool(scope.cancel()) and call.path == ""
            await Rest(http, access).account()
            await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        api.drop = lambda _: False
        assert access.tokens().refresh_token in {tokens.refresh_token for tokens in api.sessions.values()}


async def test_prekeys_are_filled_up_and_never_uploaded_twice(store: Store) -> None:
    """Few keys are topped up to fifty, enough are left alone, and a fallback key is replaced when it is a week old."""
    api = FakeApi()
    async with Http(URL, transport=api.transport) as http:
        access = await signed_in(api, store, http)
        rest, session = Rest(http, access), access.tokens().session
        await fill_prekeys(store, rest, alice_laptop.id)
        await fill_prekeys(store, rest, alice_laptop.id)
        (first,) = api.uploads[session]
        assert len(first.one_time_keys) == 50
        api.uploads[session] = [PrekeyUpload(first.one_time_keys[:20], first.fallback_key)]
        with store.transaction():
            store.settings.put("fallback-made-ms", 1_000_000_000_000 - FALLBACK_AGE_MS)
        await fill_prekeys(store, rest, alice_laptop.id)
        _, second = api.uploads[session]
    assert len(second.one_time_keys) == 30
    assert second.fallback_key not in (None, first.fallback_key)
    assert not {key.key for key in first.one_time_keys} & {key.key for key in second.one_time_keys}
    assert len(first.one_time_keys) + len(second.one_time_keys) <= ONE_TIME_KEYS_PER_DEVICE
