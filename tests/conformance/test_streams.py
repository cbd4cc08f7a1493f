"""Any stream of frames, whatever went wrong with it, and however it is cut: the relay says what an independent judge
says.
"""

from contextlib import suppress

import trio
from hypothesis import given
from trio.testing import wait_all_tasks_blocked

from tests.conformance.case import probes_of
from tests.conformance.conftest import DEVICES, open_relay
from tests.conformance.oracle import Verdict, judge
from tests.conformance.raw_client import RawClient, segment
from tests.conformance.runner import PATIENCE, send
from tests.conformance.streams import Stream, streams


async def run_stream(client: RawClient, stream: Stream) -> Verdict:
    """Send a stream, then its end; return the verdict on what was sent, and leave in the peer what came of it."""
    sealed = client.seal(probes_of(stream.parts))
    sent = stream.encode([segment(part, sealed) for part in stream.parts])
    with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
        await send(client, stream.chunks(sent))
        await wait_all_tasks_blocked()
        await client.half_close()
    with trio.fail_after(PATIENCE):
        await client.read_until_end()
    return judge(sent, list(sealed.values()))


@given(stream=streams())
def test_the_relay_says_what_an_independent_judge_says(stream: Stream) -> None:
    """Whatever comes, the relay answers exactly what is in order and closes with the code that the judge names."""

    async def run() -> None:
        async with open_relay(DEVICES[:1]) as relay:
            client = await relay.connect_client(0)
            verdict = await run_stream(client, stream)
            await client.stream.aclose()
            assert client.reader.code in verdict.codes
            assert verdict.allows(client.answered, client.reader.pongs)

    trio.run(run)
