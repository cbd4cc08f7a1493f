"""The probe: a sign of life for clients that see no pings, cheap and bounded."""

import trio

from tests.cast import alice, alice_laptop, bob, bob_phone
from tests.relay.memory_node import Backend, MemoryNode, open_node, open_room
from varde_contract import frames as f
from varde_contract.limits import PROBE_BYTES
from varde_contract.refusals import RefusalCode
from varde_contract.session import Pattern


async def test_frame_probe(node: MemoryNode, backend: Backend) -> None:
    """The token comes back, to nobody else, and no store is asked."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    with backend.interference.outage():
        for token in (b"", b"1", bytes(PROBE_BYTES)):
            await laptop.send(f.Probe(token))
            assert await laptop.receive(f.ProbeEcho) == f.ProbeEcho(token)
    assert await phone.receive_pending() == []


async def test_a_probe_is_a_sign_of_life_of_the_client_too(node: MemoryNode, backend: Backend) -> None:
    """Who probes and answers no pings stays connected."""
    await open_room(backend, alice)
    laptop = await node.connect_client(alice_laptop)
    for _ in range(8):
        await trio.sleep(node.services.settings.heartbeat)  # in time that jumps
        await laptop.send(f.Probe(b""))
    assert node.services.hub.find(alice_laptop.id) is not None


async def test_a_probe_proves_an_ik_client(node: MemoryNode, backend: Backend) -> None:
    """It is a transport message like any other: who sent one is no recording."""
    await open_room(backend, alice)
    laptop = await node.connect_client(alice_laptop, Pattern.IK)
    assert node.services.hub.find(alice_laptop.id) is None
    await laptop.send(f.Probe(b"here"))
    assert await laptop.receive(f.ProbeEcho) == f.ProbeEcho(b"here")
    assert node.services.hub.find(alice_laptop.id) is not None


async def test_probes_share_the_limit_of_ephemeral_frames(backend: Backend) -> None:
    """Twenty a second with as many again at once, beyond it they are refused, and that is no abuse."""
    await open_room(backend, alice)
    async with open_node(backend, strikes=1) as node:
        laptop = await node.connect_client(alice_laptop)
        await laptop.send(*[f.Probe(b"")] * 100)
        frames = await laptop.receive_many(100)
        refused = [frame for frame in frames if isinstance(frame, f.RefusedFrame)]
        assert len(refused) == 60
        assert {frame.code for frame in refused} == {RefusalCode.RATE_LIMITED}
        assert {(frame.about, frame.subject) for frame in refused} == {("probe", None)}
        assert all(frame.retry_after_ms for frame in refused)
