"""One HTTP exchange with the API: a body out, a body or a refusal back, bounded in size and time."""

import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Self, TypeVar

import httpx
import msgspec
import trio
from msgspec import Struct

from varde.errors import Busy, Refusal, Unreachable, VardeError
from varde.network import is_this_machine, origin_of, proxy_of, tls_context, why_unreachable
from varde.typed import read_url, visible
from varde_contract.ids import decode_text_id
from varde_contract.limits import KIB
from varde_contract.rest.problems import PROBLEM_MEDIA_TYPE, Problem

T = TypeVar("T")

CALL_SECONDS = 30
"""One try, from the first byte to the last."""
RESPONSE_BYTES = 8 * 1024 * KIB
"""A roster of a thousand devices is half a megabyte."""
TRIES = 3
PAUSE_SECONDS = 0.5
PAUSE_MOST_SECONDS = 5.0

_encoder = msgspec.json.Encoder()
for _name in ("httpx", "httpcore"):
    # They log every URL at INFO, and URLs hold ids.
    logging.getLogger(_name).setLevel(logging.WARNING)
_TIMEOUT = httpx.Timeout(10.0)
"""For each step: to connect, a write, a read. `CALL_SECONDS` bounds all of them together."""


class Http:
    """The API behind one base URL. Close it with `async with`."""

    def __init__(self, base_url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._client = httpx.AsyncClient(
            base_url=base_url,
            timeout=_TIMEOUT,
            transport=transport,
            headers={"User-Agent": "varde-sdk"},
            verify=tls_context(),
            # Decided here, as for the relay: httpx reads the environment its own way, and fails on some of it.
            trust_env=False,
            proxy=proxy_of(base_url),
        )
        self._name = origin_of(base_url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
            await self._client.aclose()

    async def call(
        self,
        method: str,
        path: str,
        response_type: type[T],
        *,
        body: Struct | None = None,
        query: Mapping[str, str] | None = None,
        token: str | None = None,
        repeat: bool | None = None,
    ) -> T:
        """Return the answer. Raises Refusal, or Unreachable when nothing that can be understood came back in time.

        `repeat` says whether a second try can do no harm; by default it can for GET, PUT and DELETE.
        """
        # A POST whose response was lost may have been carried out: again only where the server recognises a repetition.
        tries = TRIES if (method != "POST" if repeat is None else repeat) else 1
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        request = self._client.build_request(
            method,
            path,
            content=None if body is None else _encoder.encode(body),
            params=query,
            headers=headers if body is None else {**headers, "Content-Type": "application/json"},
        )
        return _decode(await _repeat(lambda: self._exchange(request), tries), response_type)

    async def read(self, path: str) -> bytes:
        """Return what is at a path that anybody may read. Raises Refusal, Unreachable."""
        request = self._client.build_request("GET", path)
        return await _repeat(lambda: self._exchange(request), TRIES)

    async def _exchange(self, request: httpx.Request) -> bytes:
        try:
            with trio.fail_after(CALL_SECONDS):
                response = await self._client.send(request, stream=True)
                try:
                    content = await _read(response)
                finally:
                    await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, trio.TooSlowError, OSError) as error:
            # The cause is cut off: its text may name more than the person has.
            why = why_unreachable(error)
            raise Unreachable(f"{self._name} was not reached: {why.words}", advice=why.advice) from None
        if not response.is_success:
            raise _refusal(response, content)
        return content


def check_url(base_url: str, *, allow_plaintext: bool = False) -> str:
    """Return an API URL as it is meant; refuse one that would send tokens in the clear over a network.

    Raises VardeError.
    """
    url = read_url(base_url)
    if url.scheme not in {"https", "http"}:
        raise VardeError("a server is reached by https", code="bad-url", advice="it looks like https://api.example.org")
    if url.scheme != "https" and not (allow_plaintext or is_this_machine(url.host)):
        raise VardeError(
            "this URL sends secrets in the clear",
            code="bad-url",
            advice="use https; `varde up --public NAME` makes a server of your own speak it",
        )
    return visible(base_url).rstrip("/")


async def _repeat(exchange: Callable[[], Awaitable[T]], tries: int) -> T:
    for left in range(tries - 1, -1, -1):
        try:
            return await exchange()
        except (Unreachable, Busy) as fault:
            if not left:
                raise
            await trio.sleep(_pause(fault, tries - left))
    raise AssertionError("there is at least one try")


def _pause(fault: VardeError, tried: int) -> float:
    wait_ms = fault.retry_after_ms if isinstance(fault, Busy) else None
    most = PAUSE_SECONDS * 2**tried
    # A server that names a long time means a person should wait, not this call.
    if wait_ms is not None and wait_ms > PAUSE_MOST_SECONDS * 1_000:
        raise fault
    return random.uniform(0, most) if wait_ms is None else wait_ms / 1_000 + random.uniform(0, PAUSE_SECONDS)  # noqa: S311 - jitter is no secret


async def _read(response: httpx.Response) -> bytes:
    content = bytearray()
    with trio.CancelScope() as scope:
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > RESPONSE_BYTES:
                # Leaving the loop would leave httpx's generators to the garbage collector; this ends them inside out.
                scope.cancel()
    if scope.cancelled_caught:
        raise Unreachable("the server's answer is larger than any should be")
    return bytes(content)


def _refusal(response: httpx.Response, content: bytes) -> VardeError:
    if response.headers.get("content-type", "").partition(";")[0].strip() == PROBLEM_MEDIA_TYPE:
        try:
            problem = msgspec.json.decode(content, type=Problem, dec_hook=decode_text_id)
        # What says that it is a problem document and is none came from something in between.
        except (msgspec.MsgspecError, UnicodeDecodeError):
            pass
        else:
            return Refusal.of(problem.code, problem.detail, retry_after_ms=problem.retry_after_ms, stale=problem.stale)
    return Unreachable(f"the server answered {response.status_code} without saying why")


def _decode(content: bytes, response_type: type[T]) -> T:
    if response_type is type(None):
        return None  # the caller asked for nothing
    try:
        return msgspec.json.decode(content, type=response_type, dec_hook=decode_text_id)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Unreachable("the server's answer is not what the contract says") from None
