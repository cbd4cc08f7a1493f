"""The wire over Valkey: what only real servers can show, and what a wrong or hostile one is answered with."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from chaos.certificates import Authority, ecdsa_key, pem_of
from domain.ports import Bus
from settings.bus import ValkeyServers as ValkeySettings
from settings.bus import read_bus
from settings.environment import Address
from storage.bus.event_bus import open_event_bus
from storage.bus.inbox import Inbox
from storage.bus.valkey import ValkeyWire
from storage.bus.valkey_link import PLAIN, ValkeyLink, make_connection, open_connection
from storage.bus.valkey_link import send as send_commands
from storage.bus.wire import FLEET, BusDown
from storage.island import Island
from tests.ids import id_of
from tests.store_contracts.bus.buses import PATIENCE, SOON, RecordingListener, ValkeyFleet, wait_state
from tests.store_contracts.bus.test_bus import OTHER, SENTINEL, head, note
from tests.store_contracts.every_event import CONVERSATION
from tests.valkey import ValkeyServers, open_valkey
from varde_contract.ids import ConversationId

PASSWORD = "c4nary-of-passwords"


def settings_of(url: str) -> ValkeySettings:
    """What a URL says."""
    settings = read_bus({"VARDE_BUS_URL": url})
    assert isinstance(settings, ValkeySettings)
    return settings


@asynccontextmanager
async def open_bus(island: Island, url: str) -> AsyncIterator[Bus]:
    """A bus on these servers."""
    async with open_event_bus(island, ValkeyWire(settings_of(url), SOON), SOON) as bus:
        yield bus


async def wait_met(met: Callable[[], bool]) -> None:
    """Return when a server is as it should be."""
    with trio.fail_after(PATIENCE):
        while not await trio.to_thread.run_sync(met):  # noqa: ASYNC110 - what happens there tells nobody here
            await trio.sleep(0.01)  # another process has no event to wait for


async def test_an_event_crosses_once_for_each_interested_process(island: Island, valkey: ValkeyServers) -> None:
    """The server passes it on to those that subscribed to its conversation, and to no other."""
    (server,) = valkey.servers
    one, other = RecordingListener(), RecordingListener()
    async with open_bus(island, valkey.url) as bus, open_bus(island, valkey.url) as idle:
        with bus.listen(one.receive, one.resync) as mine, idle.listen(other.receive, other.resync) as theirs:
            mine.subscribe(CONVERSATION)
            theirs.subscribe(OTHER)
            await one.wait_until(lambda each: CONVERSATION in each.missed)
            await other.wait_until(lambda each: OTHER in each.missed)
            for conversation in CONVERSATION, OTHER:
                channel = f"varde:{conversation.hex}"
                assert server.ask("PUBSUB", "NUMSUB", channel) in ([channel, 1], [(channel, 1)])
            mine.unsubscribe(CONVERSATION)
            await wait_met(lambda: server.ask("PUBSUB", "CHANNELS", f"varde:{CONVERSATION.hex}") == [])


async def test_a_link_that_is_cut_again_and_again_comes_back(island: Island, valkey: ValkeyServers) -> None:
    """Each time with one look at everything, and with no word of its own topics: the second cut ended every program."""
    (server,) = valkey.servers
    listener = RecordingListener()
    async with open_bus(island, valkey.url) as bus:
        with bus.listen(listener.receive, listener.resync) as mine:
            mine.subscribe(CONVERSATION)
            await listener.wait_until(lambda each: CONVERSATION in each.missed)
            for cut in range(1, 4):
                resyncs = listener.resyncs
                server.ask("CLIENT", "KILL", "TYPE", "pubsub")
                await listener.wait_until(lambda each, before=resyncs: each.resyncs > before)  # type: ignore[misc]
                await bus.publish([head(cut)])
                await listener.wait_until(lambda each, seq=cut: head(seq) in each.heard)  # type: ignore[misc]


async def test_a_process_that_is_cut_as_slow_resyncs(island: Island) -> None:
    """The server cuts who does not read; that is a loss like any other."""
    listener = RecordingListener()
    with open_valkey("--client-output-buffer-limit", "pubsub 64kb 0 0") as server:
        async with (
            _open_gate(server.port) as gate,
            open_bus(island, f"redis://127.0.0.1:{gate.port}") as slow,
            open_bus(island, f"redis://127.0.0.1:{server.port}") as bus,
        ):
            with slow.listen(listener.receive, listener.resync):
                gate.shut()
                while not server.ask("INFO", "stats")["client_output_buffer_limit_disconnections"]:
                    await bus.publish([note(number) for number in range(500)])
                gate.open()
                await listener.wait_until(lambda each: each.resyncs > 0)
                await wait_state(slow, connected=True)
                await bus.publish([SENTINEL])
                await listener.wait_until(lambda each: each.heard[-1:] == [SENTINEL])


async def test_a_cluster_node_that_dies_costs_its_own_topics_only(
    island: Island, valkey_cluster: ValkeyServers
) -> None:
    """The others are heard all the while; what hung on the dead one is resynced when it is back."""
    fleet = ValkeyFleet(island, valkey_cluster)
    listener = RecordingListener()
    async with fleet.open_bus() as bus:
        with bus.listen(listener.receive, listener.resync) as mine:
            ids = [ConversationId(id_of(number)) for number in range(1, 50)]
            owned = {valkey_cluster.owner(f"varde:{conversation.hex}"): conversation for conversation in ids}
            dying, living = (each for each in owned if each is not valkey_cluster.owner("varde:fleet"))
            for conversation in owned.values():
                mine.subscribe(conversation)
            await listener.wait_until(lambda each: each.missed >= set(owned.values()))
            listener.missed.clear()
            await trio.to_thread.run_sync(dying.kill)
            await wait_state(bus, connected=False)
            await bus.publish([head(1, owned[living]), head(1, owned[dying])])
            await listener.wait_until(lambda each: head(1, owned[living]) in each.heard)
            assert listener.missed == set()
            await trio.to_thread.run_sync(dying.start)
            await trio.to_thread.run_sync(valkey_cluster.wait_formed)
            await wait_state(bus, connected=True)
            await listener.wait_until(lambda each: each.missed == {owned[dying]})
            # What could not be published to the dead one is confessed, to everybody.
            await listener.wait_until(lambda each: each.resyncs > 0)
            await bus.publish([head(2, owned[dying])])
            await listener.wait_until(lambda each: head(2, owned[dying]) in each.heard)


async def test_slots_that_move_are_followed(island: Island, valkey_cluster: ValkeyServers) -> None:
    """A conversation whose slot goes to another server is heard there, after a resync."""
    fleet = ValkeyFleet(island, valkey_cluster)
    listener = RecordingListener()
    channel = f"varde:{CONVERSATION.hex}"
    source = valkey_cluster.owner(channel)
    target = next(server for server in valkey_cluster.servers if server is not source)
    async with fleet.open_bus() as bus:
        with bus.listen(listener.receive, listener.resync) as mine:
            mine.subscribe(CONVERSATION)
            await listener.wait_until(lambda each: CONVERSATION in each.missed)
            await trio.to_thread.run_sync(valkey_cluster.move, channel, source, target)
            await listener.wait_until(lambda each: each.resyncs > 0)
            await wait_state(bus, connected=True)
            number = 0
            with trio.fail_after(PATIENCE):
                while head(number) not in listener.heard:
                    number += 1
                    await bus.publish([head(number)])
                    await trio.sleep(0.01)  # for it to arrive: the first ones may go where the slot was
    await trio.to_thread.run_sync(valkey_cluster.move, channel, target, source)


async def test_a_wrong_password_is_refused_at_the_start_and_shown_nowhere(
    island: Island, caplog: pytest.LogCaptureFixture
) -> None:
    """The reason is a kind of error; neither the right password nor the wrong one is in the log or the exception."""
    with open_valkey("--requirepass", PASSWORD) as server:
        async with open_bus(island, f"redis://:{PASSWORD}@127.0.0.1:{server.port}"):
            pass
        with pytest.raises(BusDown, match="refuses us") as caught:
            async with open_bus(island, f"redis://:{PASSWORD}-wrong@127.0.0.1:{server.port}"):
                pass
    assert PASSWORD not in f"{caught.value!r}{caught.value.__cause__!r}{caplog.text}"


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
async def test_without_a_server_there_is_no_bus(island: Island, scheme: str) -> None:
    """A bus that cannot listen from the start is refused at the start."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(BusDown, match="cannot be reached"):
            async with open_bus(island, f"{scheme}://127.0.0.1:{held.getsockname()[1]}"):
                pass


async def test_tls_with_certificates_of_both_sides(island: Island, valkey: ValkeyServers, tmp_path: Path) -> None:
    """The server has to be one that our authority knows, and so have we; everything crosses inside."""
    authority, stranger = Authority(), Authority()
    paths = {name: _write(tmp_path / f"{name}.pem", text) for name, text in _identity(authority).items()}
    strange = {name: _write(tmp_path / f"strange-{name}.pem", text) for name, text in _identity(stranger).items()}
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(paths["ca"]))
    server_side.load_cert_chain(paths["certificate"], paths["key"])
    server_side.verify_mode = ssl.CERT_REQUIRED
    listener = RecordingListener()
    async with _open_tls(server_side, valkey.servers[0].port) as port:
        url = f"rediss://127.0.0.1:{port}"
        known = f"ca={paths['ca']}&certificate={paths['certificate']}&key={paths['key']}"
        async with open_bus(island, f"{url}?{known}") as bus:
            with bus.listen(listener.receive, listener.resync):
                await bus.publish([SENTINEL])
                await listener.wait_heard(SENTINEL)
        unknown_server = f"ca={strange['ca']}&certificate={paths['certificate']}&key={paths['key']}"
        unknown_client = f"ca={paths['ca']}&certificate={strange['certificate']}&key={strange['key']}"
        for query in unknown_server, unknown_client, f"ca={paths['ca']}":
            with pytest.raises(BusDown):
                async with open_bus(island, f"{url}?{query}"):
                    pass


class _BreakingConnection:
    """A connection that is lost when it is told to be."""

    def __init__(self) -> None:
        self.reading = asyncio.Event()
        self.lost = asyncio.get_running_loop().create_future()

    is_connected = True

    async def connect(self) -> None:
        pass

    async def disconnect(self, *, nowait: bool) -> None:
        pass

    def pack_commands(self, commands: object) -> list[bytes]:  # noqa: ARG002 - the library's
        return []

    async def send_packed_command(self, command: object, *, check_health: bool) -> None:
        pass

    async def read_response(self, *, timeout: float) -> object:  # noqa: ARG002, ASYNC109 - the same
        self.reading.set()
        return await self.lost


async def test_a_connection_that_was_lost_is_not_opened_again_behind_our_back(
    island: Island, valkey: ValkeyServers
) -> None:
    """To send on a lost connection is a loss, of which somebody learns, and not a new connection without its topics."""

    async def use() -> bool:
        connection = make_connection(settings_of(valkey.url), Address("127.0.0.1", valkey.servers[0].port), SOON)
        await open_connection(connection, SOON)
        await connection.disconnect(nowait=True)
        with pytest.raises(ConnectionError):
            await send_commands(connection, [("PING",)])
        return bool(connection.is_connected)

    assert not await island.run(use)


async def test_a_link_that_is_lost_as_it_is_closed_ends(island: Island) -> None:
    """A cancellation in the very moment of a loss is not taken for the loss, after which nothing would ever end it."""

    async def lose_and_cancel() -> bool:
        connection = _BreakingConnection()
        inbox = Inbox(island, trio.CancelScope(), str, str)
        connect: Any = lambda: connection  # noqa: E731 - what it returns is no whole connection
        link = ValkeyLink(connect, PLAIN, (FLEET,), SOON, inbox, lambda _: None, missed=False)
        task = asyncio.get_running_loop().create_task(link.run())
        await connection.reading.wait()
        connection.lost.set_exception(ConnectionError())
        task.cancel()
        await asyncio.wait((task,), timeout=PATIENCE)
        return task.cancelled()

    assert await island.run(lose_and_cancel)


class _Gate:
    """A port in front of a server, at which what the server sends may be held up."""

    def __init__(self) -> None:
        self.port = 0
        self._opened = trio.Event()
        self._opened.set()

    def shut(self) -> None:
        self._opened = trio.Event()

    def open(self) -> None:
        self._opened.set()

    async def pass_on(self, port: int, client: trio.SocketStream) -> None:
        server = await trio.open_tcp_stream("127.0.0.1", port)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)  # for the server's own buffer to fill soon
        async with server, client, trio.open_nursery() as nursery:
            nursery.start_soon(_copy_all, client, server)
            await _copy_all(server, client, self._wait_open)
            nursery.cancel_scope.cancel()

    async def _wait_open(self) -> None:
        await self._opened.wait()


@asynccontextmanager
async def _open_gate(port: int) -> AsyncIterator[_Gate]:
    gate = _Gate()
    async with _serving(partial(gate.pass_on, port)) as gate.port:
        yield gate


@asynccontextmanager
async def _open_tls(context: ssl.SSLContext, port: int) -> AsyncIterator[int]:
    """End TLS in front of a server: the one of the wheel was built without."""

    async def serve(stream: trio.SocketStream) -> None:
        encrypted = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        try:
            await encrypted.do_handshake()
        except trio.BrokenResourceError:
            await stream.aclose()
            return
        async with await trio.open_tcp_stream("127.0.0.1", port) as server, trio.open_nursery() as nursery:
            nursery.start_soon(_copy_all, encrypted, server)
            await _copy_all(server, encrypted)
            nursery.cancel_scope.cancel()

    async with _serving(serve) as served:
        yield served


async def _copy_all(
    source: trio.abc.ReceiveStream,
    sink: trio.abc.SendStream,
    wait: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
) -> None:
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while chunk := await source.receive_some():
            await wait()
            await sink.send_all(chunk)
        await sink.aclose()


@asynccontextmanager
async def _serving(handle: Callable[[trio.SocketStream], Awaitable[object]]) -> AsyncIterator[int]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        yield int(listener.socket.getsockname()[1])
        nursery.cancel_scope.cancel()


def _identity(authority: Authority) -> dict[str, bytes]:
    key = ecdsa_key()
    return {"ca": authority.pem(), "certificate": authority.certify(key), "key": pem_of(key)}


def _write(path: Path, text: bytes) -> Path:
    path.write_bytes(text)
    return path
