"""Stopping, and faults of our own: no client holds the server up, and none of them takes another one with it.

Clients that do not speak HTTP are in `test_serving.py`.
"""

import logging
import socket
import struct
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext

from api.app import create_routes
from api.http.connection import Connection
from api.resources.service import DOCUMENTS
from domain.talk.events import MessagesCommitted
from settings.api import Timeouts
from tests.api.bodies import new_message
from tests.api.memory_api import MemoryApi, open_client, open_memory_api
from tests.api.raw_http import get, open_connection
from tests.cast import alice, alice_phone, bob, open_conversation

SOON = 0.2
UNREAD = get("/v1/openapi.json") * 200


@pytest.mark.parametrize("timeouts", [Timeouts(send=SOON, stop=60), Timeouts(send=60, stop=SOON)])
async def test_a_client_that_does_not_read_holds_nothing_up(timeouts: Timeouts) -> None:
    """Neither its own connection nor the shutdown lasts for ever when a client takes none of its answers."""
    async with open_memory_api(timeouts=timeouts) as api, open_connection(api) as raw:
        await raw.send(UNREAD)
        # Once the first bytes are here, the request is under way; of the rest, nothing is read.
        await raw.stream.receive_some(1)
        api.stopping.set()
        with trio.fail_after(20):
            await api.stopped.wait()
        whole = 200 * len(create_routes().extensions[DOCUMENTS].openapi)
        assert len(await raw.read_to_end()) < whole


async def test_stopping_closes_idle_connections_and_lets_nobody_in() -> None:
    """A server that stops does not wait for those who only keep a connection open."""
    async with open_memory_api() as api, open_connection(api) as raw:
        await raw.send(get("/v1/health"))
        await raw.answer()
        api.stopping.set()
        with trio.fail_after(5):
            assert await raw.read_to_end() == b""
            await api.stopped.wait()
        with pytest.raises(OSError, match="all attempts to connect"):
            await api.connect()


async def test_a_request_under_way_is_answered_before_the_server_stops() -> None:
    """An upgrade of the server loses no answer."""
    async with open_memory_api() as api:
        conversation = await open_conversation(api.stores, alice, bob)
        api.interference.hold_commits()
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                response = await api.ask("POST", "/v1/messages", by=alice_phone, json=new_message(conversation))
                assert response.status_code == 201
                assert response.headers["connection"] == "close"

            nursery.start_soon(send)
            await api.interference.wait_commit_held()
            api.stopping.set()
            await trio.testing.wait_all_tasks_blocked()
            api.interference.release_commits()
        with trio.fail_after(5):
            await api.stopped.wait()


async def test_work_that_has_begun_is_finished_when_its_client_goes(api: MemoryApi) -> None:
    """A commit is announced although nobody waits for the answer: otherwise others would not hear of it."""
    conversation = await open_conversation(api.stores, alice, bob)
    api.interference.hold_commits()
    heard = trio.Event()
    with api.bus.listen(lambda _: heard.set(), lambda _: None) as listener:
        listener.subscribe(conversation)
        async with open_client(api.address) as client, trio.open_nursery() as nursery:
            headers = {"Authorization": f"Bearer {alice_phone.access_token}"}
            body = new_message(conversation)
            nursery.start_soon(partial(client.post, "/v1/messages", json=body, headers=headers))
            await api.interference.wait_commit_held()
            nursery.cancel_scope.cancel()
        api.interference.release_commits()
        with trio.fail_after(5):
            await heard.wait()
    assert isinstance(api.bus.published[-1], MessagesCommitted)


async def test_a_client_that_resets_is_no_fault(api: MemoryApi, caplog: pytest.LogCaptureFixture) -> None:
    """Clients go as they like, in the middle of a head, a body or an answer: nothing of it is an error of ours."""
    for request in (b"GET /v1/he", b"POST /v1/auth/codes HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{", UNREAD):
        async with open_connection(api) as raw:
            await raw.send(request)
            raw.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    async with open_connection(api) as raw:
        await raw.send(get("/v1/health", "Connection: close"))
        assert (await raw.answer()).status == 200
    await trio.testing.wait_all_tasks_blocked()
    assert caplog.records == []


class _FaultyStream:
    """A stream that raises, as a bug of ours would, what somebody might have sent."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.socket = stream.socket
        self._stream = stream

    async def receive_some(self, _: int) -> bytes:
        """Raise."""
        await trio.lowlevel.checkpoint()
        raise RuntimeError("canary")

    async def aclose(self) -> None:
        """Close."""
        await self._stream.aclose()


async def test_a_fault_in_one_connection_stays_in_it(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is raised under a connection is noted by type and place, never by content, and goes no further."""
    here, there = trio.testing.open_stream_to_socket_listener, await trio.open_tcp_listeners(0, host="127.0.0.1")
    client = await here(there[0])
    server = await there[0].accept()
    faulty: Any = _FaultyStream(server)
    app = ASGIWrapper(create_routes())
    await Connection(faulty, None, app, Config(), WorkerContext(None), Timeouts()).serve()
    assert await client.receive_some() == b""
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "RuntimeError at test_shutdown.py" in caplog.text
    assert "canary" not in caplog.text
    await client.aclose()
    await there[0].aclose()


async def test_the_server_does_not_say_what_it_is(api: MemoryApi) -> None:
    """No header names software or version."""
    response = await api.ask("GET", "/v1/health")
    assert "server" not in response.headers
    assert "hypercorn" not in str(response.headers).lower()
