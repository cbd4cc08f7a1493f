"""Any stream of frames, whatever went wrong with it, and however it is cut: the relay says what an independent judge
says.
"""

from contextlib import suppress

import trio
from hypothesis import given
from trio.testing import wait_all_tasks_blocked

from tests.conformance.case import questions_of
from tests.conformance.conftest import DEVICES, open_scene
from tests.conformance.oracle import Verdict, judge
from tests.conformance.peer import Peer, segment
from tests.conformance.playing import PATIENCE, send
from tests.conformance.streams import Stream, streams


async def play(peer: Peer, stream: Stream) -> Verdict:
    """Send a stream, then its end; return the verdict on what was sent, and leave in the peer what came of it."""
    sealed = peer.seal(questions_of(stream.parts))
    sent = stream.encode([segment(part, sealed) for part in stream.parts])
    with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
        await send(peer, stream.chunks(sent))
        await wait_all_tasks_blocked()
        await peer.half_close()
    with trio.fail_after(PATIENCE):
        await peer.read_to_the_end()
    return judge(sent, list(sealed.values()))


@given(stream=streams())
def test_the_relay_says_what_an_independent_judge_says(stream: Stream) -> None:
    """Whatever comes, the relay answers exactly what is in order and closes with the code that the judge names."""

    async def run() -> None:
        async with open_scene(DEVICES[:1]) as scene:
            peer = await scene.enter(0)
            verdict = await play(peer, stream)
            await peer.stream.aclose()
            assert peer.reader.code in verdict.codes
            assert verdict.allows(peer.answered, peer.reader.pongs)

    trio.run(run)
