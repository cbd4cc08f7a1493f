"""The opening handshake against the live relay, from the bytes of a request on."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.conformance.conftest import Scene
from tests.conformance.frames import binary
from tests.conformance.peer import REQUEST
from tests.conformance.playing import PATIENCE, send
from tests.conformance.requests import ACCEPT, Asking, Cut, cuts, head
from tests.conformance.table.upgrade import REQUESTS


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


@pytest.mark.parametrize("asking", [pytest.param(each, id=each.name.replace(" ", "-")) for each in REQUESTS])
async def test_the_relay_opens_as_the_rfc_says(asking: Asking, scene: Scene) -> None:
    """However a request arrives, it is upgraded or refused as the table says, and what is refused ends."""
    for name, cut in cuts(asking.request):
        async with await scene.open_stream() as stream:
            status, fields = await answer_to(stream, asking.request, cut)
            assert status in asking.statuses, name
            if status == 101:
                wanted = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": ACCEPT}
                assert wanted.items() <= fields.items(), name
                assert fields["sec-websocket-protocol"] == "varde.v1"
                assert "sec-websocket-extensions" not in fields
            else:
                with trio.fail_after(PATIENCE):
                    while await stream.receive_some():
                        pass  # the rest of the answer's body, then the end


@pytest.mark.parametrize(
    "further", [b"", b"Sec-WebSocket-Extensions: permessage-deflate\r\n"], ids=["plain", "deflate"]
)
async def test_what_was_upgraded_is_a_websocket(further: bytes, scene: Scene) -> None:
    """After 101 the Noise handshake goes through, whatever else was asked for."""
    peer = await scene.open_client(0)
    async with peer.stream:
        await peer.enter(REQUEST.removesuffix(b"\r\n") + further + b"\r\n")
        await peer.prove()


async def test_frames_may_come_with_the_request(scene: Scene) -> None:
    """What a hasty client sends before it has read the 101 is not lost, wherever the stream is cut."""
    for place in range(len(REQUEST) - 5, len(REQUEST) + 20):
        peer = await scene.open_client(0)
        async with peer.stream:
            first = peer.session.open()
            sent = REQUEST + binary(first).encode(first)
            await send(peer, [sent[:place], sent[place:]])
            await peer.hear_upgrade()
            await peer.hear_welcome()
            await peer.prove()


@pytest.mark.parametrize("version", ["8", "14", "130", ""])
async def test_another_version_is_told_ours(version: str, scene: Scene) -> None:
    """Who asks for a version that is not spoken here is told which one is (section 4.4)."""
    async with await scene.open_stream() as stream:
        _, fields = await answer_to(stream, head(sec_websocket_version=version), lambda sent: [sent])
        assert fields["sec-websocket-version"] == "13"


async def test_half_a_request_ends(scene: Scene) -> None:
    """Half a request and then the end of the stream is no WebSocket, and nobody waits for it."""
    async with await scene.open_stream() as stream:
        await stream.send_all(head()[:40])
        assert isinstance(stream, trio.abc.HalfCloseableStream)
        await stream.send_eof()
        with trio.fail_after(PATIENCE):
            while await stream.receive_some():
                pass  # whatever is said, it ends
