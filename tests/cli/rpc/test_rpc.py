"""The home's JSON-RPC interface, with a client in memory: what is asked, refused, told, and run for others."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from tests.cast import alice_laptop, bob_phone
from tests.varde.endpoints import endpoint
from tests.varde.memory_relay import ConversationClients, open_clients
from varde_cli.entry import varde as root
from varde_cli.rpc import server
from varde_cli.rpc.commands import divided_streams
from varde_cli.rpc.methods import METHODS
from varde_cli.rpc.paths import SOCKET_NAME, socket_path
from varde_cli.rpc.protocol import LINE_BYTES
from varde_contract.talk import ConversationKind


class Program:
    """Somebody at the other end of the streams."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._rest = b""
        self.told: list[dict[str, Any]] = []

    async def say(self, line: bytes) -> None:
        """Write bytes."""
        await self.stream.send_all(line)

    async def read(self) -> dict[str, Any]:
        """Read an object."""
        while b"\n" not in self._rest:
            chunk = await self.stream.receive_some()
            assert chunk, "it has ended"
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        return said

    async def ask(self, method: str, params: object = None, identity: object = 1) -> dict[str, Any]:
        """Call a method, and return its answer; what is told meanwhile is kept."""
        given = {} if params is None else {"params": params}
        await self.say(json.dumps({"jsonrpc": "2.0", "id": identity, "method": method} | given).encode() + b"\n")
        while "method" in (said := await self.read()):
            self.told.append(said)
        assert said["id"] == identity
        return said

    def printed(self, *, error: bool) -> str:
        """What a command printed."""
        return "".join(each["params"]["text"] for each in self.told if each["params"]["error"] == error)

    async def result(self, method: str, **params: object) -> Any:
        """Call a method that succeeds."""
        return (await self.ask(method, params))["result"]


@asynccontextmanager
async def owned() -> AsyncIterator[tuple[Program, ConversationClients]]:
    """A program at Alice's owner, and the clients."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room, trio.open_nursery() as nursery:
        near, far = memory_stream_pair()
        nursery.start_soon(server.Connection(room.clients[alice], root, far, far).serve)
        with divided_streams():
            yield Program(near), room
        nursery.cancel_scope.cancel()


async def test_a_script_talks(autojump_clock: MockClock) -> None:
    """It sends, reacts, edits and reads, by ids that it was given, and waits for nothing else."""
    async with owned() as (program, room):
        where = str(room.talk.conversation)
        await program.result("contacts.add", name="bob", who=str(endpoint(bob_phone).person.profile))
        (chat,) = await program.result("conversations")
        assert (chat["id"], chat["name"], chat["unread"]) == (where, "bob", 0)
        sent = await program.result("send", to=where, text="hei", timeout=5)
        assert (sent["sent"]["seq"], sent["waits_for"]) == (1, None)
        (message,) = await program.result("history", conversation=where)
        ref = [message["device"], message["client_id"]]
        await program.result("react", conversation=where, message=ref, emoji="🔥")
        await program.result("edit", conversation=where, message=ref, text="hei!")
        (message,) = await program.result("history", conversation=where, limit=1, before=2)
        assert (message["text"], message["reactions"][0]["emoji"]) == ("hei!", "🔥")
        await program.result("delete", conversation=where, message=ref)
        (message,) = await program.result("history", conversation=where, limit=1, before=2)
        assert (message["text"], message["deleted"]) == ("", True)
        assert {each["name"] for each in await program.result("members", conversation=where)} == {"you", "bob"}


async def test_what_happens_is_told_to_who_subscribes(autojump_clock: MockClock) -> None:
    """From the first event on, beside answers; asking twice tells nothing twice."""
    async with owned() as (program, room):
        assert (await program.ask("subscribe"))["result"] is None
        await program.ask("subscribe")
        bob = next(each for each in room.clients if each.id == bob_phone.id)
        await room[bob].send("hei")
        while (said := await program.read())["params"]["type"] != "message":
            assert said["method"] == "event"
        assert said["params"]["text"] == "hei"
        assert (await program.ask("version"))["result"]["version"]
        assert not [each for each in program.told if each["params"]["type"] == "message"]


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        (b"hei\n", -32700, "not JSON"),
        (b"\xff\xfe\n", -32700, "not JSON"),
        (b"{\n", -32700, "not JSON"),
        (b"7\n", -32600, "no JSON-RPC 2.0 request"),
        (b'{"jsonrpc": "1.0", "method": "version"}\n', -32600, "jsonrpc"),
        (b'{"jsonrpc": "2.0", "method": 7}\n', -32600, "method"),
        (b'[{"jsonrpc": "2.0", "method": "version", "id": 1}]\n', -32600, "batches"),
        (b'{"jsonrpc": "2.0", "method": "sent", "id": 1}\n', -32601, "did you mean 'send'?"),
        (b'{"jsonrpc": "2.0", "method": "send", "id": 1, "params": {"to": "bob"}}\n', -32602, "text"),
        (b'{"jsonrpc": "2.0", "method": "send", "id": 1, "params": ["bob", "hei"]}\n', -32602, "send"),
        (
            b'{"jsonrpc": "2.0", "method": "history", "id": 1, "params": {"conversation": "x", "limit": 0}}\n',
            -32602,
            ">=",
        ),
        (b'{"jsonrpc": "2.0", "method": "version", "id": 1, "params": {"x": 1}}\n', -32602, "x"),
        (b'{"jsonrpc":"2.0","method":"send","id":1,"params":{"to":"nobody","text":"x"}}\n', -32000, "nobody"),
        (b'{"jsonrpc":"2.0","method":"version","id":1,"params":' + b"[" * 200_000 + b"\n", -32700, "not JSON"),
        (b'{"jsonrpc":"2.0","method":"mark_read","id":1,"params":{"conversation":"x","upto":1e19}}\n', -32602, "upto"),
        (
            b'{"jsonrpc":"2.0","method":"set_timer","id":1,"params":{"conversation":"x","seconds":99999999}}\n',
            -32602,
            "<=",
        ),
    ],
)
async def test_what_is_wrong_is_said(line: bytes, code: int, words: str, autojump_clock: MockClock) -> None:
    """By the code of the specification, in words, and the connection stays."""
    async with owned() as (program, _):
        await program.say(line)
        error = (await program.read())["error"]
        assert error["code"] == code
        assert words in error["message"]
        assert "result" in await program.ask("version")


@pytest.mark.parametrize(("fault", "code"), [(ValueError("no such name"), -32000), (KeyError("secret"), -32603)])
async def test_no_request_ends_the_owner(
    fault: Exception, code: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one that finds a bug of ours, of which nothing but its kind is told."""

    async def fail(client: object, params: object) -> None:
        raise fault

    monkeypatch.setitem(METHODS, "version", METHODS["version"]._replace(run=fail))
    async with owned() as (program, _):
        error = (await program.ask("version"))["error"]
        assert error["code"] == code
        assert "secret" not in error["message"]
        assert "result" in await program.ask("whoami")


async def test_nobody_waits_for_a_notification(autojump_clock: MockClock) -> None:
    """Without an id there is no answer, right or wrong."""
    async with owned() as (program, _):
        await program.say(b'{"jsonrpc": "2.0", "method": "nothing"}\n{"jsonrpc": "2.0", "method": "version"}\n\n')
        assert (await program.ask("version", identity="mine"))["id"] == "mine"


async def test_a_line_without_end_ends_the_connection(autojump_clock: MockClock) -> None:
    """After its answer; nothing of it is kept."""
    async with owned() as (program, _):
        await program.say(b"x" * (2 * LINE_BYTES))
        assert (await program.read())["error"]["code"] == -32600
        with pytest.raises(AssertionError, match="it has ended"):
            await program.read()


class _Deaf(trio.abc.SendStream):
    """The way to somebody who does not read."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:  # noqa: ARG002 - Trio's signature
        await trio.sleep_forever()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.sleep_forever()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_who_does_not_read_is_cut(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """When events that wait are too many; the client goes on."""
    monkeypatch.setattr(server, "EVENTS_MOST", 8)
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room, trio.open_nursery() as nursery:
        near, far = memory_stream_pair()
        await near.send_all(b'{"jsonrpc": "2.0", "method": "subscribe"}\n')
        for _ in range(server.EVENTS_MOST + 2):
            nursery.start_soon(room[bob].send, "hei")
        await server.Connection(room.clients[alice], root, far, _Deaf()).serve()
        assert room.clients[alice].connected


async def test_a_command_runs_for_another_process(autojump_clock: MockClock) -> None:
    """With its words, its input and its outputs; the exit code is the result."""
    async with owned() as (program, room):
        where = str(room.talk.conversation)
        assert await program.result("command", words=["send", where], input="from a pipe\n") == 0
        assert "sent as number 1" in "".join(
            each["params"]["text"] for each in program.told if not each["params"]["error"]
        )
        program.told.clear()
        assert await program.result("command", words=["send", "nobody", "hei"]) == 1
        assert "nobody" in program.printed(error=True)
        assert await program.result("command", words=["sned"]) == 1
        assert await program.result("command", words=["up"]) == 1, "a server is started by nobody"
        assert await program.result("command", words=["chat", "bob"]) == 1
        assert [each.text for each in room[next(iter(room.clients))].history()] == ["from a pipe"]


async def test_what_the_server_does_not_store_is_queued(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told by an exit code of its own, and with what it waits for; also when nobody waits at all."""
    async with owned() as (program, room):
        where = str(room.talk.conversation)
        assert (await program.result("send", to=where, text="at once", timeout=0))["sent"] is None
        assert (await program.result("send", to=where, text="then"))["sent"]["seq"] == 2
        monkeypatch.setattr(room.relay, "store", lambda *_, **__: None)
        sent = await program.result("send", to=where, text="later", timeout=5)
        assert (sent["sent"], sent["waits_for"]) == (None, "the server to store it")
        assert await program.result("command", words=["send", where, "later", "--timeout", "5"]) == 3
        assert program.printed(error=False) == "queued: waits for the server to store it\n"
        assert program.printed(error=True).startswith("waiting for the server to store it")


@asynccontextmanager
async def listening(home: Path) -> AsyncIterator[None]:
    """An owner of a home, on its socket."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with (
        open_clients(ConversationKind.DM, alice, bob) as room,
        server.open_listener(room.clients[alice], root, home),
    ):
        yield


@pytest.mark.parametrize("length", [1, 150])
async def test_the_socket_is_for_its_owner(length: int, tmp_path: Path) -> None:
    """Whatever the path's length; one that was left behind is replaced, and none is left behind."""
    home = tmp_path / ("x" * length)
    home.mkdir()
    (home / SOCKET_NAME).touch()
    async with listening(home):
        assert (home / SOCKET_NAME).stat().st_mode & 0o777 == 0o600
        with socket_path(home) as path:
            stream = await trio.open_unix_socket(os.fspath(path))
        async with stream:
            assert (await Program(stream).ask("version"))["result"]["version"]
    assert not (home / SOCKET_NAME).exists()


async def test_another_user_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mode of the file is one fence, the kernel's word another."""
    monkeypatch.setattr(server, "_uid_of", lambda _: os.geteuid() + 1)
    async with listening(tmp_path), await trio.open_unix_socket(os.fspath(tmp_path / SOCKET_NAME)) as stream:
        with pytest.raises((AssertionError, trio.BrokenResourceError)):
            await Program(stream).ask("version")


def test_every_method_says_what_it_does() -> None:
    """The page of the interface is made of that."""
    assert all(each.about and each.params.__doc__ for each in METHODS.values())
