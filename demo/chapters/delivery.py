"""Delivery: to a device that was off, of a message sent repeatedly, to a device that the sender does not know yet."""

from typing import Final

import trio

from demo.context import DemoContext
from demo.people import Device
from demo.promises import BrokenPromise, expect
from demo.protocol_client import as_body, open_protocol_client
from varde.events import Gap, Message
from varde_contract.frames import Ack, RefusedFrame
from varde_contract.limits import ROSTER_GRACE_MS, SECOND_MS
from varde_contract.refusals import RefusalCode

MISSED: Final = 40


async def offline_device(context: DemoContext) -> None:
    """Bob's laptop sleeps while Alice and Carol write in two conversations."""
    assert context.dm is not None
    assert context.group is not None
    begun = len(context.sent_texts)
    async with (
        context.device("alice", "phone").online() as alice,
        context.device("carol", "phone").online() as carol,
    ):
        for number in range(1, MISSED + 1):
            await context.send_text(
                alice.client.conversation(context.dm), f"While your laptop slept, Bob: number {number}."
            )
            await context.send_text(
                carol.client.conversation(context.group), f"While some of you slept: number {number}."
            )
    async with (
        context.transcript.promise(f"Bob's laptop was off for {2 * MISSED} messages, and gets all of them in order"),
        context.device("bob", "laptop").online() as laptop,
    ):
        missed = context.sent_texts[begun:]
        for conversation, expected in ((context.dm, missed[0::2]), (context.group, missed[1::2])):
            expect(await laptop.inbox.wait_texts(conversation, MISSED), expected)
    async with (
        context.transcript.promise("nothing is given twice, and no number is missing"),
        context.device("bob", "laptop").online() as laptop,
    ):
        for conversation in (context.dm, context.group):
            messages = laptop.client.conversation(conversation).history(limit=MISSED)
            expect([message.seq for message in messages], list(range(messages[0].seq, messages[0].seq + MISSED)))
            expect(laptop.inbox.texts(conversation), [])
            expect(laptop.inbox.of(Gap), [])


async def repeated_send(context: DemoContext) -> None:
    """Send the very same bytes over two connections, and a third time through the API."""
    assert context.dm is not None
    text = "This was sent three times, because its ack seemed lost."
    context.sent_texts.append(text)
    async with open_protocol_client(context.device("alice", "phone")) as alice:
        before = await alice.rest.conversation(context.dm)
        send = await alice.seal(before, text)
        async with context.transcript.promise("the same message over two connections gets the same ack twice"):
            acks = []
            for _ in range(2):
                async with alice.open_connection() as connection:
                    acks.append(await connection.request(send))
            expect(isinstance(acks[0], Ack), expected=True)
            expect(acks[1], acks[0])
        async with context.transcript.promise("sent once more through the API, it is still the same message"):
            stored = await alice.rest.send(as_body(send))
            (ack, _) = acks
            assert isinstance(ack, Ack)
            expect((stored.message, stored.seq), (ack.message, ack.seq))
            expect((await alice.rest.conversation(context.dm)).head, before.head + 1)
    async with (
        context.transcript.promise("Bob sees it once"),
        context.device("bob", "phone").online() as bob,
    ):
        await bob.inbox.wait_text(context.dm, text)
        seen = [message for message in bob.client.conversation(context.dm).history(500) if message.text == text]
        expect([message.seq for message in seen], [ack.seq])
        expect(sum(message.text == text for message in bob.inbox.of(Message)), 1)


async def stale_device_list(context: DemoContext) -> None:
    """Bob gets a tablet, and Alice does not know."""
    assert context.dm is not None
    bob = context.people["bob"]
    tablet = bob.devices["tablet"] = Device("bob's tablet", context.device("bob", "phone").home.with_name("bob-tablet"))
    alice = context.device("alice", "phone")
    async with open_protocol_client(alice) as protocol:
        old = await protocol.rest.conversation(context.dm)
        await context.sign_ups.log_in(bob, tablet)
        async with context.transcript.promise(
            "ten seconds later, a message that leaves out Bob's new tablet is refused, with the name of what is missing"
        ):
            await trio.sleep(ROSTER_GRACE_MS / SECOND_MS + 1)  # until then it is taken, and the tablet told of a gap
            text = "Sealed for the devices of yesterday."
            context.sent_texts.append(text)
            async with protocol.open_connection() as connection:
                refused = await connection.request(await protocol.seal(old, text))
            if not isinstance(refused, RefusedFrame) or refused.stale is None:
                raise BrokenPromise("a refusal that says which devices are missing", refused)
            expect(refused.code, RefusalCode.STALE_DEVICES)
            expect((refused.stale.missing, refused.stale.gone), ((tablet.id,), ()))
        async with context.transcript.promise("nothing of it was stored"):
            expect((await protocol.rest.conversation(context.dm)).head, old.head)
    async with (
        context.transcript.promise("Alice's app repairs its list by itself, and the tablet reads the next message"),
        alice.online() as sender,
        tablet.online() as reader,
    ):
        await context.send_text(sender.client.conversation(context.dm), "And now for your tablet, too, Bob.")
        await reader.inbox.wait_text(context.dm, context.sent_texts[-1])
        expect(reader.inbox.texts(context.dm), context.sent_texts[-1:])
