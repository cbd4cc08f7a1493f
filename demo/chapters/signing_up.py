"""Five people sign up with one-time codes, and two of them add a second device.

Nobody talks yet.
"""

import trio

from demo.stage import Stage
from demo.story import expect


async def tell(stage: Stage) -> None:
    """Sign everybody up at once."""
    async with stage.story.promise("five people sign up with a code from an e-mail, each with a device of their own"):
        async with trio.open_nursery() as nursery:
            for person in stage.people.values():
                nursery.start_soon(stage.registry.sign_up, person)
        expect(len({person.account for person in stage.people.values()}), 5)
    async with stage.story.promise("24 words on paper add a second device: there are seven now"):
        for person in stage.people.values():
            for device in list(person.devices.values())[1:]:
                await stage.registry.log_in(person, device)
        expect(len({device.id for device in stage.devices}), 7)
