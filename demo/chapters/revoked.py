"""A device is taken away: it is cut off, and can neither read nor write.

What it had before stays on it; no server can change that.
"""

from collections.abc import Awaitable

import trio

import varde
from demo.raw import Closed, Raw, as_body, open_raw
from demo.stage import Stage
from demo.story import Broken, expect
from varde.events import Message
from varde_contract.close_codes import CloseCode
from varde_contract.frames import Join


async def tell(stage: Stage) -> None:
    """Bob revokes his laptop from his phone."""
    assert stage.dm is not None
    laptop = stage.device("bob", "laptop")
    async with stage.device("bob", "phone").online() as phone, stage.device("alice", "phone").online() as alice:
        async with laptop.online() as lost:
            async with stage.story.promise("Bob revokes his laptop, and its live connection is cut within a second"):
                await phone.client.revoke_device(laptop.id)
                with trio.fail_after(1):
                    await lost.inbox.wait(lambda inbox: inbox.ended is not None)
                if not isinstance(lost.inbox.ended, varde.DeviceRevoked):
                    raise Broken("the laptop told that it was revoked", lost.inbox.ended)
            held = len(lost.inbox.of(Message))
        async with stage.story.promise("what Alice writes now reaches Bob's phone"):
            await stage.say(alice.client.conversation(stage.dm), "Bob, is your lost laptop still listening?")
            await phone.inbox.wait_text(stage.dm, stage.said[-1])
        expect(len(lost.inbox.of(Message)), held)
    async with open_raw(laptop) as raw:
        async with stage.story.promise("the laptop cannot come back to read, not even with the ticket it still has"):
            await _expect_shut_out(raw)
        async with stage.story.promise("the laptop cannot write either, and the API does not know it any more"):
            before = await _head(stage)
            message = raw.nonsense(stage.dm, {device.id: b"x" for device in stage.devices if device.id != laptop.id})
            await _expect_signed_out(raw.rest.send(as_body(message)))
            await _expect_signed_out(raw.rest.conversation(stage.dm))
            await _expect_signed_out(raw.rest.ticket())
            expect(await _head(stage), before)


async def _expect_shut_out(raw: Raw) -> None:
    """Try to join with the old ticket: the door is closed before anything can be read."""
    try:
        async with raw.dial(raw.kept_ticket()) as wire:
            await wire.send(Join())
            seen = await wire.receive()
    except Closed as closed:
        if closed.code not in (CloseCode.REVOKED, CloseCode.BAD_TICKET):
            raise Broken("a closing that says the device was revoked", closed.code) from None
        return
    raise Broken("a closed door", seen)


async def _expect_signed_out(call: Awaitable[object]) -> None:
    try:
        seen = await call
    except varde.SignedOut:
        return
    raise Broken("no way in: unauthenticated", seen)


async def _head(stage: Stage) -> int:
    """The last number of the conversation, as Alice's laptop is told."""
    assert stage.dm is not None
    async with open_raw(stage.device("alice", "laptop")) as alice:
        return (await alice.rest.conversation(stage.dm)).head
