"""A message sent twice is stored once: who never saw the ack may send again without fear.

It is sent by hand, because the SDK's client would have to be killed at the right moment.
"""

from demo.raw import as_body, open_raw
from demo.stage import Stage
from demo.story import expect
from varde.events import Message
from varde_contract.frames import Ack


async def tell(stage: Stage) -> None:
    """Send the very same bytes over two connections, and a third time through the API."""
    assert stage.dm is not None
    text = "This was sent three times, because its ack seemed lost."
    stage.said.append(text)
    async with open_raw(stage.device("alice", "phone")) as alice:
        before = await alice.rest.conversation(stage.dm)
        send = await alice.seal(before, text)
        async with stage.story.promise("the same message over two connections gets the same ack twice"):
            acks = []
            for _ in range(2):
                async with alice.dial() as wire:
                    acks.append(await wire.ask(send))
            expect(isinstance(acks[0], Ack), expected=True)
            expect(acks[1], acks[0])
        async with stage.story.promise("sent once more through the API, it is still the same message"):
            stored = await alice.rest.send(as_body(send))
            (ack, _) = acks
            assert isinstance(ack, Ack)
            expect((stored.message, stored.seq), (ack.message, ack.seq))
            expect((await alice.rest.conversation(stage.dm)).head, before.head + 1)
    async with (
        stage.story.promise("Bob sees it once"),
        stage.device("bob", "phone").online() as bob,
    ):
        await bob.inbox.wait_text(stage.dm, text)
        seen = [message for message in bob.client.conversation(stage.dm).history(500) if message.text == text]
        expect([message.seq for message in seen], [ack.seq])
        expect(sum(message.text == text for message in bob.inbox.of(Message)), 1)
