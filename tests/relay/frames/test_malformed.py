"""Frames with a wrong shape: refused by name, beside the others of their message, and counted as strikes."""

from msgspec.structs import replace

from tests.cast import alice, alice_laptop, bob
from tests.relay.memory_node import Backend, MemoryNode, Sends, open_node, open_room
from varde_contract import codec
from varde_contract import frames as f
from varde_contract.limits import CIPHERTEXT_BYTES
from varde_contract.refusals import RefusalCode


async def test_a_bad_frame_is_refused_and_the_others_count(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """A send whose ciphertext is too long is refused under its client id; what was around it is stored."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    good, also = sends.group(roster, alice), sends.group(roster, alice)
    bad = replace(sends.group(roster, alice), group=bytes(CIPHERTEXT_BYTES + 1))
    await laptop.send(good, bad, also)
    refused = await laptop.wait_for(f.RefusedFrame)
    assert (refused.about, refused.subject, refused.code) == ("msg:send", bad.client_id, RefusalCode.MALFORMED)
    told = "Frame 1 of the message, `msg:send`, is malformed: look at `group`. Expected `bytes` of length <= 49152."
    assert refused.detail == told
    acks = [frame for frame in await laptop.receive_pending() if isinstance(frame, f.Ack)]
    assert [ack.client_id for ack in acks] == [good.client_id, also.client_id]


async def test_a_frame_of_tomorrow_is_refused(node: MemoryNode, backend: Backend) -> None:
    """A newer client learns which frame this relay does not know, and stays connected."""
    await open_room(backend, alice)
    laptop = await node.connect_client(alice_laptop)
    await laptop.send_message(laptop.session.seal(b"\x92\x91\xa8tomorrow" + codec.encode_frame(f.Probe(b""))))
    refused = await laptop.receive(f.RefusedFrame)
    assert (refused.about, refused.subject, refused.code) == ("", None, RefusalCode.MALFORMED)
    assert refused.detail == "Frame 0 of the message has a tag that this relay does not know."
    await laptop.receive(f.ProbeEcho)
    assert node.services.metrics.frames_in[f.MalformedFrame] == 1
    assert node.services.metrics.refusals[RefusalCode.MALFORMED] == 1


async def test_malformed_frames_are_strikes(backend: Backend) -> None:
    """Who repeats them for long is cut with 4107, and is told why; the answers are bounded by the strikes."""
    await open_room(backend, alice)
    async with open_node(backend, strikes=10) as node:
        laptop = await node.connect_client(alice_laptop)
        await laptop.send(*[f.Probe(bytes(17))] * 256)
        closed = await laptop.wait_closed()
        assert (closed.code, closed.reason) == (4107, "abuse: limits or refusals were ignored again and again")
        assert sum(isinstance(frame, f.RefusedFrame) for frame in laptop.frames) <= 10
