"""Who is no member and what was revoked: both are refused, and neither learns anything."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio
from msgspec.structs import replace

import varde
from demo.context import DemoContext
from demo.people import make_person
from demo.promises import BrokenPromise, expect
from demo.protocol_client import Closed, ProtocolClient, RelayConnection, as_body, open_protocol_client
from varde.clock import fresh_id
from varde.events import Message, Presence, Receipt, Request, Typing
from varde_contract.close_codes import CloseCode
from varde_contract.frames import ClientFrame, Join, RefusedFrame, Sync, Welcome
from varde_contract.ids import ConversationId
from varde_contract.rest.people import PrekeyClaim
from varde_contract.rest.talk import NewStatements


async def non_member(context: DemoContext) -> None:
    """Mallory signs up, knows the ids of everything, and tries."""
    assert context.dm is not None
    context.people["mallory"] = mallory = make_person(
        context.device("alice", "phone").home.parent, "mallory", ("phone",)
    )
    await context.sign_ups.sign_up(mallory)
    before = await _view(context)
    async with open_protocol_client(mallory.devices["phone"]) as protocol:
        attempts = _Attempts(protocol, _victims(context))
        async with protocol.open_connection() as connection:
            async with context.transcript.promise(
                "Mallory cannot join the conversation of Alice and Bob, nor ask for its messages"
            ):
                await attempts.on_relay(connection, context.dm, (attempts.join, attempts.sync))
            async with context.transcript.promise("Mallory cannot send to it, over the relay or the API"):
                await attempts.on_relay(connection, context.dm, (attempts.send,))
                await attempts.on_api(context.dm, (attempts.post,))
            async with context.transcript.promise(
                "Mallory cannot look at it, add herself, or claim keys of its devices"
            ):
                await attempts.on_api(context.dm, (attempts.look, attempts.enter, attempts.claim))
            async with context.transcript.promise("every answer is the same as for a conversation that does not exist"):
                await attempts.compare(connection, context.dm, ConversationId(fresh_id()))
            async with context.transcript.promise("nothing was stored"):
                expect((await protocol.rest.conversations(None)).conversations, ())
                expect(await _view(context), before)
            async with context.transcript.promise(
                "Alice and Bob talk on, and Mallory's open connection hears nothing of it"
            ):
                await _keep_talking(context)
                await attempts.on_relay(connection, context.dm, (attempts.join,))
                expect([frame for frame in connection.received if not isinstance(frame, Welcome | RefusedFrame)], [])


async def stranger(context: DemoContext) -> None:
    """Mallory was given Bob's address, and writes to him."""
    mallory, bob = context.people["mallory"], context.people["bob"]
    async with (
        mallory.devices["phone"].online() as hers,
        context.device("bob", "phone").online() as his,
        trio.open_nursery() as nursery,
    ):
        async with context.transcript.promise(
            "a stranger who writes to Bob is a request on his phone, with her first words, and no message"
        ):
            conversation = await hers.client.open_dm(bob.address)
            nursery.start_soon(_write_in_vain, context, conversation)
            request = await _wait_request(his.client)
            expect((request.conversation, request.invited_by), (conversation.id, mallory.address))
            expect(request.text, context.sent_texts[-1])
        async with context.transcript.promise(
            "before he accepts no message of hers is sent, and she learns nothing of him"
        ):
            expect([each.text for each in conversation.outgoing()], context.sent_texts[-1:])
            expect(his.inbox.texts(conversation.id), [])
            shown = [*hers.inbox.of(Presence), *hers.inbox.of(Receipt), *hers.inbox.of(Typing)]
            expect([each for each in shown if getattr(each, "conversation", conversation.id) == conversation.id], [])
        async with context.transcript.promise("he declines, and there is no request any more"):
            await his.client.conversation(conversation.id).decline()
            expect(await his.client.requests(), ())
            expect(his.inbox.texts(conversation.id), [])
        async with context.transcript.promise("he blocks her, and is shown nothing of what she asks then"):
            await his.client.block(request.account)
            await hers.client.open_group([bob.address])
            expect(await his.client.requests(), ())
        nursery.cancel_scope.cancel()


async def _wait_request(client: varde.Client) -> Request:
    """Return the one request, when its first words have come."""
    while True:
        for request in await client.requests():
            if request.text is not None:
                return request
        await trio.sleep(0.05)


async def _write_in_vain(context: DemoContext, conversation: varde.Conversation) -> None:
    with suppress(varde.NotAccepted):
        await context.send_text(conversation, "Bob, you do not know me. Shall we talk?")


async def _keep_talking(context: DemoContext) -> None:
    assert context.dm is not None
    async with context.device("alice", "phone").online() as alice, context.device("bob", "phone").online() as bob:
        await context.send_text(alice.client.conversation(context.dm), "Did you hear somebody at the door, Bob?")
        await bob.inbox.wait_text(context.dm, context.sent_texts[-1])


def _victims(context: DemoContext) -> tuple[varde.DeviceId, ...]:
    return context.device("alice", "phone").id, context.device("bob", "phone").id


async def _view(context: DemoContext) -> object:
    assert context.dm is not None
    async with open_protocol_client(context.device("alice", "phone")) as alice:
        return await alice.rest.conversation(context.dm)


class _Attempts:
    """Everything Mallory tries, each with the conversation it is tried on."""

    def __init__(self, protocol: ProtocolClient, devices: tuple[varde.DeviceId, ...]) -> None:
        self._protocol = protocol
        self._devices = devices

    def join(self, conversation: ConversationId) -> ClientFrame:
        return Join(conversation)

    def sync(self, conversation: ConversationId) -> ClientFrame:
        return Sync(conversation, 1)

    def send(self, conversation: ConversationId) -> ClientFrame:
        return self._protocol.invalid_message(conversation, dict.fromkeys(self._devices, b"not for you"))

    def post(self, conversation: ConversationId) -> Awaitable[object]:
        return self._protocol.rest.send(
            as_body(self._protocol.invalid_message(conversation, dict.fromkeys(self._devices, b"x")))
        )

    def look(self, conversation: ConversationId) -> Awaitable[object]:
        return self._protocol.rest.conversation(conversation)

    def enter(self, conversation: ConversationId) -> Awaitable[object]:
        return self._protocol.rest.append_statements(conversation, NewStatements((b"let me in",)))

    def claim(self, conversation: ConversationId) -> Awaitable[object]:
        return self._protocol.rest.claim_prekeys(PrekeyClaim(conversation, self._devices))

    async def on_relay(
        self,
        connection: RelayConnection,
        conversation: ConversationId,
        tries: tuple[Callable[[ConversationId], ClientFrame], ...],
    ) -> list[RefusedFrame]:
        """Try frames, and return the refusals. Raises Broken where one was not refused."""
        refusals = []
        for attempt in tries:
            answer = await connection.request(attempt(conversation))
            if not isinstance(answer, RefusedFrame):
                raise BrokenPromise("a refusal", answer)
            # The subject is what was asked about, so of course it differs.
            refusals.append(replace(answer, subject=None))
        return refusals

    async def on_api(
        self, conversation: ConversationId, tries: tuple[Callable[[ConversationId], Awaitable[object]], ...]
    ) -> list[tuple[str, str]]:
        """Try calls, and return the refusals. Raises Broken where one was not refused."""
        refusals = []
        for attempt in tries:
            try:
                answer = await attempt(conversation)
            except varde.Refusal as refusal:
                refusals.append((refusal.code, str(refusal)))
            else:
                raise BrokenPromise("a refusal", answer)
        return refusals

    async def compare(self, connection: RelayConnection, there: ConversationId, nowhere: ConversationId) -> None:
        """Try everything on both: who cannot tell them apart has learnt nothing."""
        frames = (self.join, self.sync, self.send)
        calls = (self.post, self.look, self.enter, self.claim)
        expect(await self.on_relay(connection, there, frames), await self.on_relay(connection, nowhere, frames))
        expect(await self.on_api(there, calls), await self.on_api(nowhere, calls))


async def revoked_device(context: DemoContext) -> None:
    """Bob revokes his laptop from his phone."""
    assert context.dm is not None
    laptop = context.device("bob", "laptop")
    async with context.device("bob", "phone").online() as phone, context.device("alice", "phone").online() as alice:
        async with laptop.online() as lost:
            async with context.transcript.promise(
                "Bob revokes his laptop, and its live connection is cut within a second"
            ):
                await phone.client.revoke_device(laptop.id)
                with trio.fail_after(1):
                    await lost.inbox.wait(lambda inbox: inbox.ended is not None)
                if not isinstance(lost.inbox.ended, varde.DeviceRevoked):
                    raise BrokenPromise("the laptop told that it was revoked", lost.inbox.ended)
            held = len(lost.inbox.of(Message))
        async with context.transcript.promise("what Alice writes now reaches Bob's phone"):
            await context.send_text(alice.client.conversation(context.dm), "Bob, is your lost laptop still listening?")
            await phone.inbox.wait_text(context.dm, context.sent_texts[-1])
        expect(len(lost.inbox.of(Message)), held)
    async with open_protocol_client(laptop) as protocol:
        async with context.transcript.promise(
            "the laptop cannot come back to read, not even with the ticket it still has"
        ):
            await _expect_shut_out(protocol)
        async with context.transcript.promise("the laptop cannot write either, and the API does not know it any more"):
            before = await _head(context)
            message = protocol.invalid_message(
                context.dm, {device.id: b"x" for device in context.devices if device.id != laptop.id}
            )
            await _expect_signed_out(protocol.rest.send(as_body(message)))
            await _expect_signed_out(protocol.rest.conversation(context.dm))
            await _expect_signed_out(protocol.rest.ticket())
            expect(await _head(context), before)


async def _expect_shut_out(protocol: ProtocolClient) -> None:
    """Try to join with the old ticket: the door is closed before anything can be read."""
    try:
        async with protocol.open_connection(protocol.kept_ticket()) as connection:
            await connection.send(Join())
            seen = await connection.receive()
    except Closed as closed:
        if closed.code not in (CloseCode.REVOKED, CloseCode.BAD_TICKET):
            raise BrokenPromise("a closing that says the device was revoked", closed.code) from None
        return
    raise BrokenPromise("a closed door", seen)


async def _expect_signed_out(call: Awaitable[object]) -> None:
    try:
        seen = await call
    except varde.SignedOut:
        return
    raise BrokenPromise("no way in: unauthenticated", seen)


async def _head(context: DemoContext) -> int:
    """The last number of the conversation, as Alice's laptop is told."""
    assert context.dm is not None
    async with open_protocol_client(context.device("alice", "laptop")) as alice:
        return (await alice.rest.conversation(context.dm)).head
