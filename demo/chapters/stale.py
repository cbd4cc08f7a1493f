"""A list of devices that is out of date: refused by the relay, repaired by the client.

So no device is ever left out in silence, and none that is gone gets anything.
"""

from demo.cast import Device
from demo.raw import open_raw
from demo.stage import Stage
from demo.story import Broken, expect
from varde_contract.frames import RefusedFrame
from varde_contract.refusals import RefusalCode


async def tell(stage: Stage) -> None:
    """Bob gets a tablet, and Alice does not know."""
    assert stage.dm is not None
    bob = stage.people["bob"]
    tablet = bob.devices["tablet"] = Device("bob's tablet", stage.device("bob", "phone").home.with_name("bob-tablet"))
    alice = stage.device("alice", "phone")
    async with open_raw(alice) as raw:
        old = await raw.rest.conversation(stage.dm)
        await stage.registry.log_in(bob, tablet)
        async with stage.story.promise(
            "a message that leaves out Bob's new tablet is refused, with the name of what is missing"
        ):
            text = "Sealed for the devices of yesterday."
            stage.said.append(text)
            async with raw.dial() as wire:
                refused = await wire.ask(await raw.seal(old, text))
            if not isinstance(refused, RefusedFrame) or refused.stale is None:
                raise Broken("a refusal that says which devices are missing", refused)
            expect(refused.code, RefusalCode.STALE_DEVICES)
            expect((refused.stale.missing, refused.stale.gone), ((tablet.id,), ()))
        async with stage.story.promise("nothing of it was stored"):
            expect((await raw.rest.conversation(stage.dm)).head, old.head)
    async with (
        stage.story.promise("Alice's app repairs its list by itself, and the tablet reads the next message"),
        alice.online() as sender,
        tablet.online() as reader,
    ):
        await stage.say(sender.client.conversation(stage.dm), "And now for your tablet, too, Bob.")
        await reader.inbox.wait_text(stage.dm, stage.said[-1])
        expect(reader.inbox.texts(stage.dm), stage.said[-1:])
