"""Whatever operators see of a running system names nobody: its logs, metrics, spans and reports of errors are searched.

People talk, strangers send what they should not, and a table is taken away so that a request fails in a way nobody
expects. Then everything that left the servers is searched for ids, addresses, tokens, texts and ciphertext.
"""

import gzip
import json
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import brotli
import httpx
import pytest
import trio

from storage.embedded.cluster import program
from supervisor.ports import free_port
from tests import system
from tests.end_to_end.stack import Program, Stack, connected, open_dm, open_group, people, texts
from tests.postgres import url_of

pytestmark = pytest.mark.xdist_group("end-to-end")
CANARY = "canary-7f3ac1"
STRANGER = "203.0.113.77"
DASHBOARDS = Path(__file__).parents[2] / "deploy" / "dashboards"


class Sink(ThreadingHTTPServer):
    """Takes spans and reports, as a collector and Sentry would."""

    def __init__(self) -> None:
        self.bodies: dict[str, list[bytes]] = {}
        self.came = threading.Condition()
        super().__init__(("127.0.0.1", 0), Taking)

    @property
    def url(self) -> str:
        """Where it is, without a scheme."""
        return f"127.0.0.1:{self.server_address[1]}"

    def wait(self, path: str) -> None:
        """Wait until something came there."""
        with self.came:
            assert self.came.wait_for(lambda: any(path in each for each in self.bodies), 20), self.bodies.keys()


class Taking(BaseHTTPRequestHandler):
    """One request to the sink."""

    def do_POST(self) -> None:
        """Keep the body."""
        assert isinstance(self.server, Sink)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        encoding = self.headers.get("Content-Encoding", "identity")
        body = {"identity": bytes, "gzip": gzip.decompress, "br": brotli.decompress}[encoding](body)
        with self.server.came:
            self.server.bodies.setdefault(self.path, []).append(body)
            self.server.came.notify_all()
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def open_sink() -> Iterator[Sink]:
    """Run a sink for the block."""
    with Sink() as sink:
        thread = threading.Thread(target=sink.serve_forever)
        thread.start()
        try:
            yield sink
        finally:
            sink.shutdown()
            thread.join()


async def talk(stack: Stack, folder: Path) -> set[bytes]:
    """Let people do what people do; return everything that names them or that they said."""
    alice, bob, carol = await people(stack, folder, "alice", "bob", "carol")
    async with connected((alice, "laptop"), (bob, "laptop"), (carol, "laptop")) as clients:
        hers, his, carols = clients
        dm = await open_dm(hers, his)
        group = await open_group(hers, his, carols)
        sent = [await each.send(f"{CANARY}-text") for each in (dm, group)]
        assert await texts(his, dm, 1) == await texts(carols, group, 1) == [f"{CANARY}-text"]
        ids = [dm.id, group.id, *(each.message for each in sent)]
        for client in clients:
            identity = client.identity
            ids += [identity.account, identity.device, *(profile.id for profile in identity.profiles)]
    found = {person.email.encode() for person in (alice, bob, carol)}
    for each in ids:
        value = UUID(str(each))
        found |= {str(value).encode(), value.hex.encode(), value.bytes}
    return found


async def do_harm(stack: Stack) -> None:
    """Send canaries wherever a server reads something, over HTTP and to the relay."""
    headers = {"Authorization": f"Bearer {CANARY}-token", "X-Forwarded-For": STRANGER, "User-Agent": f"{CANARY}-agent"}
    async with httpx.AsyncClient(base_url=stack.api_url, headers=headers) as client:
        await client.get(f"/v1/{CANARY}-path", params={"query": f"{CANARY}-query"})
        await client.get("/v1/account")
        await client.post("/v1/auth/codes", json={"email": f"{CANARY}-address"})
        await client.post("/v1/auth/session", json={"email": f"{CANARY}@example.org", "code": f"{CANARY}-code"})
        await client.post("/v1/auth/session", content=f"{CANARY}-body".encode())
    address = urlsplit(stack.relay.address)
    upgrade = f"Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Forwarded-For: {STRANGER}\r\n"
    for request in (f"GET /{CANARY} HTTP/1.1\r\n{upgrade}\r\n", f"{CANARY}\r\n\r\n", f"\x16\x03{CANARY}"):
        with suppress(OSError), socket.create_connection((str(address.hostname), int(address.port or 0)), 5) as sock:
            sock.sendall(request.encode("latin-1"))
            sock.recv(4_096)


async def fail_unexpectedly(stack: Stack, folder: Path) -> None:
    """Have a request fail for a reason that no code knows: its table is gone."""
    command = (program("psql"), "-X", "-q", "-d", stack.database_url, "-c", "DROP TABLE block CASCADE")
    subprocess.run(command, check=True, capture_output=True)
    (dave,) = await people(stack, folder, "dave")
    async with connected((dave, "laptop")) as (his,):
        with trio.move_on_after(10), suppress(Exception):
            await his.blocked()


def metrics_of(server: Program) -> str:
    """Where the log says that its metrics are."""
    found = re.search(r"metrics are at http://([0-9.:]+)/metrics", server.log)
    assert found is not None, server.log
    return found[1]


@contextmanager
def open_prometheus(folder: Path, targets: dict[str, str]) -> Iterator[httpx.Client]:
    """A real Prometheus that asks these targets each second; what is yielded asks it."""
    binary = system.require("prometheus", "prometheus")
    jobs = [{"job_name": f"varde-{name}", "static_configs": [{"targets": [at]}]} for name, at in targets.items()]
    (folder / "prometheus.yml").write_text(
        json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}), encoding="utf-8"
    )
    port = free_port()
    options = (f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/prometheus")
    command = (str(binary), *options, f"--web.listen-address=127.0.0.1:{port}", "--log.level=error")
    with subprocess.Popen(command) as process, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        try:
            yield client
        finally:
            process.terminate()


def has_data(prometheus: httpx.Client, expression: str) -> bool:
    """Whether an expression finds a number just now."""
    with suppress(httpx.TransportError):  # it is still starting
        answer = prometheus.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", (expression, answer)
        return any(each["value"][1] != "NaN" for each in answer["data"]["result"])
    return False


def expressions() -> dict[str, str]:
    """What each panel of each dashboard asks, by where it stands."""
    found = {}
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                found[f"{path.name}: {panel['title']}: {target['legendFormat']}"] = target["expr"]
    return found


async def wait_for_data(prometheus: httpx.Client, stack: Stack, folder: Path) -> set[str]:
    """Let life go on until every panel has data, or long enough; return those that have none."""
    missing = expressions()
    (erin, frank) = await people(stack, folder, "erin", "frank")
    async with connected((erin, "laptop"), (frank, "laptop")) as (hers, his):
        dm = await open_dm(hers, his)
        with trio.move_on_after(20):
            while missing:
                await dm.send("on and on")
                await do_harm(stack)
                missing = {where: each for where, each in missing.items() if not has_data(prometheus, each)}
                await trio.sleep(0.2)  # for further scrapes: Prometheus tells nobody
    return set(missing)


async def test_nothing_that_operators_see_names_anybody(tmp_path: Path, database_url: str) -> None:
    """And each of the four is really there, so that the search is not in an empty room. Every panel shows something."""
    data = tmp_path / "data"
    data.mkdir()
    stack = Stack(data, database_url)
    told = stack.api.environ | {"VARDE_DATABASE_URL": url_of("varde_worker", database_url)}
    worker = Program("worker", told, data / "worker.log")
    servers = {"api": stack.api, "relay": stack.relay, "worker": worker}
    with open_sink() as sink:
        for name, server in servers.items():
            server.change(
                VARDE_LOG_FORMAT="json",
                VARDE_OTLP_URL=f"http://{sink.url}/v1/traces",
                VARDE_OTLP_ONE_IN="1",
                VARDE_SENTRY_DSN=f"http://key@{sink.url}/1",
            )
            server.change(**{f"VARDE_{name.upper()}_METRICS_BIND": "127.0.0.1:0"})
        try:
            stack.start()
            worker.start()
            targets = {name: metrics_of(server) for name, server in servers.items()}
            with open_prometheus(tmp_path, targets) as prometheus:
                names = await talk(stack, tmp_path)
                await do_harm(stack)
                assert await wait_for_data(prometheus, stack, tmp_path) == set()
            await fail_unexpectedly(stack, tmp_path)
            for path in ("/v1/traces", "/envelope/"):
                await trio.to_thread.run_sync(sink.wait, path)
            async with httpx.AsyncClient() as client:
                pages = [(await client.get(f"http://{at}/metrics")).content for at in targets.values()]
        finally:
            stack.stop()
            worker.stop()
        logs = [line for server in servers.values() for line in server.log.splitlines()]
        reports = [body for path, bodies in sink.bodies.items() if "envelope" in path for body in bodies]
        spans = sink.bodies["/v1/traces"]
    # Without a mail server codes go to the console, for development.
    lines = [line for line in logs if not line.startswith("sign-in code ")]
    assert all(json.loads(line).keys() == {"time", "level", "program", "logger", "message"} for line in lines)
    assert any("a request failed" in line for line in lines)
    assert any(b"StoreFault" in body for body in reports)
    for kind in (b"handshake", b"commit", b"checkpoint"):
        assert any(kind in body for body in spans), kind
    seen = {"log": "\n".join(lines).encode(), "metric": b"".join(pages), "span": b"".join(spans)}
    seen["report"] = b"".join(reports)
    for what, content in seen.items():
        assert content, what
        for each in (*names, CANARY.encode(), STRANGER.encode()):
            assert each not in content, (what, each)
