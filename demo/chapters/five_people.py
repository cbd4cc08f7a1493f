"""Five people in a group, on seven devices.

Who joins or leaves is not told here.
"""

from contextlib import AsyncExitStack

from demo.cast import Online
from demo.stage import Stage
from demo.story import expect


async def tell(stage: Stage) -> None:
    """Open the group; everybody says something at once."""
    people = list(stage.people.values())
    async with AsyncExitStack() as stack:
        online = {
            (person.name, name): await stack.enter_async_context(device.online())
            for person in people
            for name, device in person.devices.items()
        }
        phones = {name: device for (name, kind), device in online.items() if kind == "phone"}
        async with stage.story.promise("Alice opens a group of five and writes; the other six devices read it"):
            group = await phones["alice"].client.open_group([person.address for person in people[1:]])
            stage.group = group.id
            await stage.say(group, "Welcome, all five of you. One ciphertext for the whole group.")
            for (name, kind), device in online.items():
                if (name, kind) != ("alice", "phone"):
                    expect(await device.inbox.wait_texts(group.id, 1), stage.said[-1:])
        async with stage.story.promise(
            "everybody answers, and all seven devices hold the same messages in the same order"
        ):
            for name in ("bob", "carol", "dave", "erin"):
                await stage.say(
                    phones[name].client.conversation(group.id), f"This is {name}, with a sender key of my own."
                )
            for device in online.values():
                await device.inbox.wait(lambda _inbox, device=device: len(_texts(device, stage)) == 5)  # type: ignore[misc]  # noqa: PLR2004
                expect(_texts(device, stage), stage.said[-5:])


def _texts(device: Online, stage: Stage) -> list[str]:
    assert stage.group is not None
    return [message.text for message in device.client.conversation(stage.group).history()]
