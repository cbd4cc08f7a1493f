"""People sign up and talk: two of them on four devices, then five in a group on seven."""

from contextlib import AsyncExitStack

import trio

from demo.context import DemoContext
from demo.people import Online
from demo.promises import expect
from varde.events import Receipt


async def sign_up(context: DemoContext) -> None:
    """Sign everybody up at once."""
    async with context.transcript.promise(
        "five people sign up with a code from an e-mail, each with a device of their own"
    ):
        async with trio.open_nursery() as nursery:
            for person in context.people.values():
                nursery.start_soon(context.sign_ups.sign_up, person)
        expect(len({person.account for person in context.people.values()}), 5)
    async with context.transcript.promise("24 words on paper add a second device: there are seven now"):
        for person in context.people.values():
            for device in list(person.devices.values())[1:]:
                await context.sign_ups.log_in(person, device)
        expect(len({device.id for device in context.devices}), 7)


async def direct_messages(context: DemoContext) -> None:
    """Open the conversation and talk both ways."""
    alice, bob = context.people["alice"], context.people["bob"]
    async with AsyncExitStack() as stack:
        a_phone, a_laptop, b_phone, b_laptop = [
            await stack.enter_async_context(device.online())
            for person in (alice, bob)
            for device in person.devices.values()
        ]
        async with context.transcript.promise(
            "Alice asks Bob, who accepts; then she writes, and he reads it on both of his devices"
        ):
            dm = await a_phone.client.open_dm(bob.address)
            context.dm = dm.id
            (request,) = await b_phone.client.requests()
            expect((request.conversation, request.invited_by), (dm.id, alice.address))
            await b_phone.client.conversation(dm.id).accept()
            await context.send_text(dm, "Hi Bob, it is Alice. Nobody between us can read this.")
            for device in (b_phone, b_laptop):
                expect(await device.inbox.wait_texts(dm.id, 1), context.sent_texts[-1:])
        async with context.transcript.promise("Alice's own laptop shows what her phone sent, as hers"):
            expect(await a_laptop.inbox.wait_texts(dm.id, 1), context.sent_texts[-1:])
            expect(a_laptop.client.conversation(dm.id).history()[-1].mine, expected=True)
        async with context.transcript.promise(
            "Bob answers from his laptop, and all four devices hold the same two messages"
        ):
            sent = await context.send_text(
                b_laptop.client.conversation(dm.id), "Hi Alice. Not even the people who run it?"
            )
            for device in (a_phone, a_laptop, b_phone):
                await device.inbox.wait_text(dm.id, context.sent_texts[-1])
            for device in (a_phone, a_laptop, b_phone, b_laptop):
                expect([each.text for each in device.client.conversation(dm.id).history()], context.sent_texts[-2:])
        async with context.transcript.promise("Bob learns that Alice has read his answer"):
            await a_phone.client.conversation(dm.id).read(sent.seq)
            await b_laptop.inbox.wait(
                lambda inbox: any(
                    receipt.read and receipt.profile == alice.address and receipt.upto == sent.seq
                    for receipt in inbox.of(Receipt)
                )
            )
        async with context.transcript.promise("both see the same safety number, so nobody stands between them"):
            assert alice.account is not None
            assert bob.account is not None
            expect(b_phone.client.safety_number(alice.account), a_phone.client.safety_number(bob.account))


async def group_of_five(context: DemoContext) -> None:
    """Open the group; everybody says something at once."""
    people = list(context.people.values())
    async with AsyncExitStack() as stack:
        online = {
            (person.name, name): await stack.enter_async_context(device.online())
            for person in people
            for name, device in person.devices.items()
        }
        phones = {name: device for (name, kind), device in online.items() if kind == "phone"}
        async with context.transcript.promise(
            "Alice opens a group, four accept, and she writes; the other six devices read it"
        ):
            group = await phones["alice"].client.open_group([person.address for person in people[1:]])
            context.group = group.id
            for name in list(phones)[1:]:
                await phones[name].client.conversation(group.id).accept()
            await group.refresh()
            await context.send_text(group, "Welcome, all five of you. One ciphertext for the whole group.")
            for (name, kind), device in online.items():
                if (name, kind) != ("alice", "phone"):
                    expect(await device.inbox.wait_texts(group.id, 1), context.sent_texts[-1:])
        async with context.transcript.promise(
            "everybody answers, and all seven devices hold the same messages in the same order"
        ):
            for name in ("bob", "carol", "dave", "erin"):
                await context.send_text(
                    phones[name].client.conversation(group.id), f"This is {name}, with a sender key of my own."
                )
            for device in online.values():
                await device.inbox.wait(lambda _inbox, device=device: len(_texts(device, context)) == 5)  # type: ignore[misc]  # noqa: PLR2004
                expect(_texts(device, context), context.sent_texts[-5:])


def _texts(device: Online, context: DemoContext) -> list[str]:
    assert context.group is not None
    return [message.text for message in device.client.conversation(context.group).history()]
