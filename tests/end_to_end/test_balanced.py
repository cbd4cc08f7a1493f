"""Real relay nodes behind a real HAProxy with the configuration that we ship: sticky, killed, drained, reloaded."""

import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio
from click.testing import CliRunner

import varde
from operations.commands import server
from storage.keys import read_api_keys, read_relay_keys
from storage.migrate import read_migrations
from tests.end_to_end.balancer import CONFIG, PASSTHROUGH, Balancer, addresses, open_balancer
from tests.end_to_end.stack import ROOT, SECONDS, Person, Stack, connected, open_dm, people

pytestmark = pytest.mark.xdist_group("end-to-end")
BOTH = "relay-1", "relay-2"


@pytest.fixture(scope="module")
def balancer(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """Two nodes behind one balancer, which ends TLS."""
    folder = tmp_path_factory.mktemp("balancer")
    with pytest.MonkeyPatch.context() as patch, open_balancer(stack, folder, config=CONFIG.read_text()) as balancer:
        patch.setenv("SSL_CERT_FILE", str(folder / "authority.pem"))
        yield balancer


@asynccontextmanager
async def talking(balancer: Balancer, folder: Path, seconds: float = SECONDS) -> AsyncIterator["Talk"]:
    """Alice and Bob, connected through the balancer."""
    alice, bob = await people(balancer.stack, folder, "alice", "bob")
    async with connected((alice, "laptop"), (bob, "laptop"), seconds=seconds) as (hers, his):
        yield Talk(hers, his, await open_dm(hers, his))


class Talk:
    """A conversation that goes on whatever happens: numbers, sent by Alice and read by Bob."""

    def __init__(self, hers: varde.Client, his: varde.Client, conversation: varde.Conversation) -> None:
        self._hers = hers
        self._his = his
        self._conversation = conversation
        self._sent = 0

    async def go_on(self, count: int = 5) -> None:
        """Send some more; all that was ever sent came once and in order."""
        for _ in range(count):
            await self._conversation.send(str(self._sent))
            self._sent += 1
        assert await all_texts(self._his, self._conversation, self._sent) == [
            str(number) for number in range(self._sent)
        ]


async def all_texts(client: varde.Client, opened: varde.Conversation, count: int) -> list[str]:
    """Everything that somebody else has written, once so many texts have come, of which nothing is lost."""
    conversation = client.conversation(opened.id)
    while True:
        found = [each.text for each in conversation.history(10 * count) if not each.mine]
        if len(found) >= count:
            assert not conversation.losses()
            return found
        await trio.sleep(0.02)  # the caller has a deadline


async def node_of(balancer: Balancer, person: Person) -> str:
    """Connect somebody alone, and return which node they came to."""
    while any(balancer.sessions().values()):  # noqa: ASYNC110 - until another process has seen the last one go
        await trio.sleep(0.02)
    async with connected((person, "laptop")):
        (name,) = (name for name, count in balancer.sessions().items() if count)
    return name


async def test_a_device_comes_back_to_its_node(balancer: Balancer, tmp_path: Path) -> None:
    """As often as it connects, by its hint alone: all of them come from one address."""
    await balancer.wait_ready(*BOTH, "api-1")
    persons = await people(balancer.stack, tmp_path, "alice", "bob", "carol")
    for person in persons:
        assert len({await node_of(balancer, person) for _ in range(3)}) == 1


async def test_a_node_is_drained_and_comes_back(balancer: Balancer, tmp_path: Path) -> None:
    """The balancer sends nobody there any more, the node asks its clients to go, and ends with 0; nothing is lost."""
    await balancer.wait_ready(*BOTH, "api-1")
    async with talking(balancer, tmp_path) as talk:
        await talk.go_on()
        leaver = max(balancer.sessions(), key=lambda name: balancer.sessions()[name])
        balancer.say(f"set server relay/{leaver} state drain")
        command = (sys.executable, "-m", "storage", "node", "drain", leaver, "--wait")
        environ = os.environ | {"VARDE_DATABASE_URL": balancer.stack.database_url}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.go_on, 20)
            said = await trio.run_process(command, cwd=ROOT, env=environ, capture_stdout=True)
        assert f"{leaver}-".encode() in said.stdout
        assert await trio.to_thread.run_sync(balancer.nodes[leaver].wait) == 0
        await talk.go_on()
        balancer.nodes[leaver].start()
        balancer.say(f"set server relay/{leaver} state ready")
        await balancer.wait_ready(*BOTH, "api-1")
        await talk.go_on()


async def test_a_node_is_added_while_all_runs(balancer: Balancer, tmp_path: Path) -> None:
    """The runtime API takes in a third node, and it gets clients; the connections that are there stay."""
    await balancer.wait_ready(*BOTH, "api-1")
    third = balancer.stack.open_relay("relay-3", VARDE_RELAY_PROXIES="1")
    third.start()
    try:
        async with talking(balancer, tmp_path) as talk:
            (address,) = addresses([third])
            balancer.say(f"add server relay/relay-3 {address} check inter 1s")
            balancer.say("enable server relay/relay-3; enable health relay/relay-3")
            await balancer.wait_ready(*BOTH, "relay-3", "api-1")
            for name in BOTH:
                balancer.say(f"set server relay/{name} state drain")
            (carol,) = await people(balancer.stack, tmp_path, "carol")
            async with connected((carol, "laptop")):
                assert balancer.sessions()["relay-3"] == 1
                await talk.go_on()
            for name in BOTH:
                balancer.say(f"set server relay/{name} state ready")
            await balancer.wait_ready(*BOTH, "relay-3", "api-1")
            balancer.say("set server relay/relay-3 state maint")
    finally:
        third.stop()
        balancer.say("del server relay/relay-3")


async def test_each_key_changes_while_people_talk(balancer: Balancer, tmp_path: Path) -> None:
    """In three steps each, one node after the other: nobody is locked out, and no message is lost or repeated.

    Those who come back late hold a ticket and a relay's key of before: at each step they are let in.
    """
    await balancer.wait_ready(*BOTH, "api-1")
    stack, keys = balancer.stack, balancer.stack.data / "keys"
    before = read_relay_keys(keys), read_api_keys(keys)
    late = await people(stack, tmp_path, "dave", "erin")
    for person in late:
        async with connected((person, "laptop")):
            pass
    try:
        # Four drains and three starts of the API, which take ten seconds on a machine that does nothing else.
        async with talking(balancer, tmp_path, seconds=100) as talk:
            await trio.to_thread.run_sync(_rotate_all, stack)
            await _replace(balancer, talk)
            await trio.to_thread.run_sync(_rotate_all, stack)
            await _restart_api(balancer)
            assert read_api_keys(keys).ticket_public != before[1].ticket_public
            assert read_api_keys(keys).relay_public != before[1].relay_public
            async with connected((late[0], "laptop")):
                await talk.go_on()
            (carol,) = await people(stack, tmp_path, "carol")
            async with connected((carol, "laptop")):
                await talk.go_on()
            assert (await late[1].log_in("phone")).account == (await late[1].log_in("tablet")).account
            await trio.to_thread.run_sync(_rotate_all, stack, "--insist")
            await _replace(balancer, talk)
            for person in (*late, carol):
                async with connected((person, "laptop")):
                    await talk.go_on()
            await late[1].log_in("watch")
    finally:  # for the other tests: with whatever the keys are now
        stack.relay.stop()
        stack.relay.start()
    after = read_relay_keys(keys), read_api_keys(keys)
    assert not after[0].other_privates + after[0].other_ticket_publics + after[1].other_peppers
    assert after[1].pepper != before[1].pepper


def _rotate_all(stack: Stack, *options: str) -> None:
    for name in ("relay", "ticket", "pepper"):
        command = ["keys", "rotate", name, *options]
        CliRunner().invoke(
            server,
            command,
            env={"VARDE_DATA": str(stack.data), "VARDE_DATABASE_URL": stack.database_url},
            catch_exceptions=False,
        )


async def _replace(balancer: Balancer, talk: Talk) -> None:
    """Restart the nodes, one after the other, and the API, while people talk."""
    for node in balancer.nodes.values():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.go_on)
            await trio.to_thread.run_sync(node.stop)
        node.start()
        await balancer.wait_ready(*BOTH, "api-1")
    await _restart_api(balancer)


async def _restart_api(balancer: Balancer) -> None:
    balancer.stack.api.stop()
    balancer.stack.api.start()
    await balancer.wait_ready(*BOTH, "api-1")


def older_version(folder: Path) -> Path:
    """The server as it was before its newest migration, which only expands: a version that knows nothing of it."""
    rooms = ("varde_contract", "settings", "observability", "domain", "storage", "relay")
    for room in rooms:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    newest = max((folder / "storage/migrations").glob("*.sql"))
    assert read_migrations()[-1].needs < len(read_migrations()), f"{newest.name} ends the time of older programs"
    newest.unlink()
    return folder


async def test_versions_are_replaced_one_node_at_a_time(
    balancer: Balancer, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The database is migrated first; then old and new nodes run side by side, under load, and nothing is lost."""
    old = older_version(tmp_path_factory.mktemp("older"))
    await balancer.wait_ready(*BOTH, "api-1")
    for node in balancer.nodes.values():
        node.stop()
        node.root = old
        node.start()
    await balancer.wait_ready(*BOTH, "api-1")
    async with talking(balancer, tmp_path) as talk:
        await talk.go_on()
        for node in balancer.nodes.values():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(talk.go_on, 20)
                await trio.to_thread.run_sync(node.stop)
            node.root = ROOT
            node.start()
            await talk.go_on()
            await balancer.wait_ready(*BOTH, "api-1")
        await talk.go_on()


async def test_a_reload_cuts_nobody(balancer: Balancer, tmp_path: Path) -> None:
    """The old worker keeps the WebSockets that it has, the new one takes newcomers."""
    await balancer.wait_ready(*BOTH, "api-1")
    alice, bob = await people(balancer.stack, tmp_path, "alice", "bob")
    async with connected((alice, "laptop"), (bob, "laptop")) as (hers, his):
        talk = Talk(hers, his, await open_dm(hers, his))
        await talk.go_on()
        ended: list[varde.Event] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(note_ends, hers, ended)
            nursery.start_soon(note_ends, his, ended)
            with trio.fail_after(SECONDS):
                await balancer.reload(lambda: balancer.process.send_signal(signal.SIGUSR2))
                await balancer.wait_ready(*BOTH, "api-1")
            await talk.go_on()
            nursery.cancel_scope.cancel()
        assert ended == []
        (carol,) = await people(balancer.stack, tmp_path, "carol")
        async with connected((carol, "laptop")):
            assert sum(balancer.sessions().values()) == 1  # of the new worker's


async def note_ends(client: varde.Client, ended: list[varde.Event]) -> None:
    """Note whenever a connection ends."""
    async for event in client.events():
        ended += [event] if isinstance(event, varde.Disconnected) else []


async def test_requests_leave_no_other_way(balancer: Balancer) -> None:
    """REST goes to the API, whatever a request wants to upgrade to; TLS is 1.3 or nothing."""
    await balancer.wait_ready(*BOTH, "api-1")
    url = f"https://127.0.0.1:{balancer.port}"
    async with httpx.AsyncClient() as client:
        for wanted in ({}, {"Upgrade": "h2c", "Connection": "Upgrade"}, {"Upgrade": "websocket"}):
            answer = await client.get(f"{url}/v1/ready", headers=wanted)
            assert (answer.status_code, answer.json()["ready"]) == (200, True)
        assert (await client.get(f"{url}/v1/relay")).json()["url"].startswith("wss://")
    old = subprocess.run(
        ("openssl", "s_client", "-connect", f"127.0.0.1:{balancer.port}", "-tls1_2"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert old.returncode != 0


async def test_correctness_needs_no_stickiness(balancer: Balancer, tmp_path: Path) -> None:
    """With every connection to a node at random, people who come and go in mid-talk lose nothing."""
    config = balancer.control.with_name("haproxy.cfg")
    shipped = config.read_text()
    start, end = shipped.index("    balance url_param route"), shipped.index("    option httpchk")
    config.write_text(f"{shipped[:start]}    balance random(1)\n{shipped[end:]}")
    try:
        await balancer.reload(lambda: balancer.process.send_signal(signal.SIGUSR2))
        await balancer.wait_ready(*BOTH, "api-1")
        alice, bob = await people(balancer.stack, tmp_path, "alice", "bob")
        async with connected((alice, "laptop"), (bob, "laptop")) as (hers, his):
            opened = await open_dm(hers, his)
        for number in range(6):
            async with connected((alice, "laptop")) as (hers,):
                await hers.conversation(opened.id).send(f"{number} while away")
                async with connected((bob, "laptop")) as (his,):
                    await his.conversation(opened.id).send(f"{number} back")
                    await hers.conversation(opened.id).send(f"{number} live")
        async with connected((alice, "laptop"), (bob, "laptop")) as (hers, his):
            sent = [f"{number} {word}" for number in range(6) for word in ("while away", "live")]
            assert await all_texts(his, opened, len(sent)) == sent
            assert await all_texts(hers, opened, 6) == [f"{number} back" for number in range(6)]
    finally:
        config.write_text(shipped)


async def test_a_killed_node_takes_nothing_along(balancer: Balancer, tmp_path: Path) -> None:
    """After kill -9 its clients are on the other node, and every message came once and in order."""
    await balancer.wait_ready(*BOTH, "api-1")
    async with talking(balancer, tmp_path) as talk:
        await talk.go_on()
        victim = max(balancer.sessions(), key=lambda name: balancer.sessions()[name])
        balancer.nodes[victim].kill()
        await talk.go_on()
        assert balancer.sessions()[victim] == 0
        balancer.nodes[victim].start()
        await balancer.wait_ready(*BOTH, "api-1")
        await talk.go_on()


async def test_nodes_let_in_the_balancer_alone(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line of the page for operators: people talk through it; nobody else gets an answer."""
    page = (ROOT / "docs/operations/internal-tls.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^default-server ssl .*$", page, re.MULTILINE)
    line = line.replace("/etc/haproxy/tls/ca.pem", str(tmp_path / "authority.pem"))
    line = line.replace("/etc/haproxy/tls/both.pem", str(tmp_path / "both.pem"))
    config = CONFIG.read_text().replace("backend relay\n", f"backend relay\n    {line}\n")
    with open_balancer(stack, tmp_path, config=config, guarded=True) as balancer:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        async with talking(balancer, tmp_path) as talk:
            await talk.go_on()
        trusting = ssl.create_default_context(cafile=tmp_path / "authority.pem")
        (first, _) = addresses(list(balancer.nodes.values()))
        async with httpx.AsyncClient(verify=trusting) as stranger:
            with pytest.raises(httpx.TransportError):
                await stranger.get(f"https://{first}/v1/health")


async def test_tls_is_passed_through(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nodes end TLS themselves, learn the client's address from the PROXY header, and people talk."""
    config = PASSTHROUGH.read_text().replace("relay.example.org", "relay.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with open_balancer(stack, tmp_path, config=config, tls=True) as balancer:
        with trio.fail_after(SECONDS):
            await balancer.wait_ready(*BOTH)
        async with talking(balancer, tmp_path) as talk:
            await talk.go_on()
            assert sum(balancer.sessions().values()) == 2
