"""The opening handshake against the live relay, from the bytes of a request on."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.conformance.conftest import RelayUnderTest
from tests.conformance.frames import binary
from tests.conformance.requests import ACCEPT, Cut, UpgradeCase, cuts, head
from tests.conformance.runner import PATIENCE, send
from tests.conformance.table.upgrade import REQUESTS
from tests.relay.client import UPGRADE
from varde_contract import frames as f


async def answer_to(stream: trio.abc.Stream, request: bytes, cut: Cut) -> tuple[int, dict[str, str]]:
    """Send a request and return the status and the fields of its answer; 0 and none for an end without one."""
    try:
        for chunk in cut(request):
            await stream.send_all(chunk)
            await wait_all_tasks_blocked()
    except trio.BrokenResourceError:
        pass  # it was answered before all was sent; the answer is still there
    received = b""
    with trio.fail_after(PATIENCE):
        while b"\r\n\r\n" not in received:
            chunk = bytes(await stream.receive_some())
            if not chunk:
                assert not received, "half an answer"
                return 0, {}
            received += chunk
    first, *lines = received.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    protocol, status, _ = first.split(" ", 2)
    assert protocol == "HTTP/1.1"
    names = [line.partition(":")[0].lower() for line in lines]
    assert len(set(names)) == len(names), "a field twice"
    return int(status), {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}


@pytest.mark.parametrize("case", [pytest.param(each, id=each.name.replace(" ", "-")) for each in REQUESTS])
async def test_the_relay_opens_as_the_rfc_says(case: UpgradeCase, relay: RelayUnderTest) -> None:
    """However a request arrives, it is upgraded or refused as the table says, and what is refused ends."""
    for name, cut in cuts(case.request):
        async with await relay.open_stream() as stream:
            status, fields = await answer_to(stream, case.request, cut)
            assert status in case.statuses, name
            if status == 101:
                wanted = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": ACCEPT}
                assert wanted.items() <= fields.items(), name
                assert fields["sec-websocket-protocol"] == "varde.v2"
                assert "sec-websocket-extensions" not in fields
            else:
                with trio.fail_after(PATIENCE):
                    while await stream.receive_some():
                        pass  # the rest of the answer's body, then the end


@pytest.mark.parametrize(
    "further", [b"", b"Sec-WebSocket-Extensions: permessage-deflate\r\n"], ids=["plain", "deflate"]
)
async def test_what_was_upgraded_is_a_websocket(further: bytes, relay: RelayUnderTest) -> None:
    """After 101 the Noise handshake goes through, whatever else was asked for."""
    client = await relay.open_client(0)
    async with client.stream:
        await client.connect(UPGRADE.removesuffix(b"\r\n") + further + b"\r\n")
        await client.prove_alive()


async def test_frames_may_come_with_the_request(relay: RelayUnderTest) -> None:
    """What a hasty client sends before it has read the 101 is not lost, wherever the stream is cut."""
    for place in range(len(UPGRADE) - 5, len(UPGRADE) + 20):
        client = await relay.open_client(0)
        async with client.stream:
            first = client.session.open()
            sent = UPGRADE + binary(first).encode(first)
            await send(client, [sent[:place], sent[place:]])
            await client.read_upgrade()
            await client.receive(f.Welcome)
            await client.prove_alive()


@pytest.mark.parametrize("version", ["8", "14", "130", ""])
async def test_another_version_is_told_ours(version: str, relay: RelayUnderTest) -> None:
    """Who asks for a version that is not spoken here is told which one is (section 4.4)."""
    async with await relay.open_stream() as stream:
        _, fields = await answer_to(stream, head(sec_websocket_version=version), lambda sent: [sent])
        assert fields["sec-websocket-version"] == "13"


async def test_half_a_request_ends(relay: RelayUnderTest) -> None:
    """Half a request and then the end of the stream is no WebSocket, and nobody waits for it."""
    async with await relay.open_stream() as stream:
        await stream.send_all(head()[:40])
        assert isinstance(stream, trio.abc.HalfCloseableStream)
        await stream.send_eof()
        with trio.fail_after(PATIENCE):
            while await stream.receive_some():
                pass  # whatever is said, it ends
