"""Two people talk, each with two devices.

No group yet: that is the next chapter.
"""

from contextlib import AsyncExitStack

from demo.stage import Stage
from demo.story import expect
from varde.events import Receipt


async def tell(stage: Stage) -> None:
    """Open the conversation and talk both ways."""
    alice, bob = stage.people["alice"], stage.people["bob"]
    async with AsyncExitStack() as stack:
        a_phone, a_laptop, b_phone, b_laptop = [
            await stack.enter_async_context(device.online())
            for person in (alice, bob)
            for device in person.devices.values()
        ]
        async with stage.story.promise("Alice writes to Bob, and he reads it on both of his devices"):
            dm = await a_phone.client.open_dm(bob.address)
            stage.dm = dm.id
            await stage.say(dm, "Hi Bob, it is Alice. Nobody between us can read this.")
            for device in (b_phone, b_laptop):
                expect(await device.inbox.wait_texts(dm.id, 1), stage.said[-1:])
        async with stage.story.promise("Alice's own laptop shows what her phone sent, as hers"):
            expect(await a_laptop.inbox.wait_texts(dm.id, 1), stage.said[-1:])
            expect(a_laptop.client.conversation(dm.id).history()[-1].mine, expected=True)
        async with stage.story.promise("Bob answers from his laptop, and all four devices hold the same two messages"):
            sent = await stage.say(b_laptop.client.conversation(dm.id), "Hi Alice. Not even the people who run it?")
            for device in (a_phone, a_laptop, b_phone):
                await device.inbox.wait_text(dm.id, stage.said[-1])
            for device in (a_phone, a_laptop, b_phone, b_laptop):
                expect([each.text for each in device.client.conversation(dm.id).history()], stage.said[-2:])
        async with stage.story.promise("Bob learns that Alice has read his answer"):
            await a_phone.client.conversation(dm.id).read(sent.seq)
            await b_laptop.inbox.wait(
                lambda inbox: any(
                    receipt.read and receipt.profile == alice.address and receipt.upto == sent.seq
                    for receipt in inbox.of(Receipt)
                )
            )
        async with stage.story.promise("both see the same safety number, so nobody stands between them"):
            assert alice.account is not None
            assert bob.account is not None
            expect(b_phone.client.safety_number(alice.account), a_phone.client.safety_number(bob.account))
