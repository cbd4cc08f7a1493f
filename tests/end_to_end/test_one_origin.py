"""The example of a proxy in docs/how-to: API and relay behind one origin, with real processes."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trio

from supervisor.ports import free_port
from tests.end_to_end.stack import ROOT, SECONDS, Stack, connected, open_dm, people, texts
from tests.system import require

pytestmark = pytest.mark.xdist_group("end-to-end")
EXAMPLE = ROOT / "docs/how-to/one-origin.cfg"


@contextmanager
def running_proxy(stack: Stack) -> Iterator[str]:
    """HAProxy with the example in front of a running stack; the address of the origin."""
    origin = f"127.0.0.1:{free_port()}"
    environ = os.environ | {
        "VARDE_ORIGIN_BIND": origin,
        "VARDE_API_BIND": stack.api_url.removeprefix("http://"),
        "VARDE_RELAY_BIND": stack.relay.address.removeprefix("ws://").partition("/")[0],
    }
    haproxy = str(require("haproxy", "haproxy"))
    subprocess.run((haproxy, "-c", "-f", EXAMPLE), env=environ, check=True, capture_output=True)
    proxy = subprocess.Popen((haproxy, "-db", "-f", EXAMPLE), env=environ)
    try:
        yield origin
    finally:
        proxy.terminate()
        proxy.wait(SECONDS)


async def test_one_origin_is_enough(stack: Stack, tmp_path: Path) -> None:
    """People sign up, find the relay and talk through the proxy alone; the two resources of one path are told apart."""
    with running_proxy(stack) as origin:
        stack.restart_api(f"ws://{origin}/v1/relay", proxies=1)
        stack.api.address = f"http://{origin}"
        try:
            with trio.fail_after(SECONDS):
                await _wait_ready(origin)
                async with httpx.AsyncClient() as client:
                    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
                    of_the_api = await client.get(f"http://{origin}/v1/relay")
                    page = await client.get(f"http://{origin}/i")
                    of_the_relay = await client.get(f"http://{origin}/v1/relay", headers=upgrade)
            assert of_the_api.json()["url"] == f"ws://{origin}/v1/relay"
            assert "varde join" in page.text
            assert of_the_relay.status_code in {400, 426}
            alice, bob = await people(stack, tmp_path, "alice", "bob")
            async with connected((alice, "laptop"), (bob, "laptop")) as (hers, his):
                conversation = await open_dm(hers, his)
                await conversation.send("hei")
                assert await texts(his, conversation, 1) == ["hei"]
        finally:
            stack.restart_api(stack.relay.address, proxies=0)


async def _wait_ready(origin: str) -> None:
    async with httpx.AsyncClient() as client:
        while True:
            try:
                if (await client.get(f"http://{origin}/v1/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                await trio.lowlevel.checkpoint()
