"""An outsider with a valid account: can neither join, nor send to, nor learn of a conversation of others.

Mallory's app is honest, so the attempts are made by hand.
"""

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

import varde
from demo.cast import make_person
from demo.raw import Raw, Wire, as_body, open_raw
from demo.stage import Stage
from demo.story import Broken, expect
from varde.clock import fresh_id
from varde_contract.frames import ClientFrame, Join, RefusedFrame, Sync, Welcome
from varde_contract.ids import ConversationId
from varde_contract.rest.people import PrekeyClaim
from varde_contract.rest.talk import NewMember


async def tell(stage: Stage) -> None:
    """Mallory signs up, knows the ids of everything, and tries."""
    assert stage.dm is not None
    stage.people["mallory"] = mallory = make_person(stage.device("alice", "phone").home.parent, "mallory", ("phone",))
    await stage.registry.sign_up(mallory)
    before = await _view(stage)
    async with open_raw(mallory.devices["phone"]) as raw:
        attempts = _Attempts(raw, mallory.address, _victims(stage))
        async with raw.dial() as wire:
            async with stage.story.promise(
                "Mallory cannot join the conversation of Alice and Bob, nor ask for its messages"
            ):
                await attempts.on_relay(wire, stage.dm, (attempts.join, attempts.sync))
            async with stage.story.promise("Mallory cannot send to it, over the relay or the API"):
                await attempts.on_relay(wire, stage.dm, (attempts.send,))
                await attempts.on_api(stage.dm, (attempts.post,))
            async with stage.story.promise("Mallory cannot look at it, add herself, or claim keys of its devices"):
                await attempts.on_api(stage.dm, (attempts.look, attempts.enter, attempts.claim))
            async with stage.story.promise("every answer is the same as for a conversation that does not exist"):
                await attempts.compare(wire, stage.dm, ConversationId(fresh_id()))
            async with stage.story.promise("nothing was stored"):
                expect((await raw.rest.conversations(None)).conversations, ())
                expect(await _view(stage), before)
            async with stage.story.promise("Alice and Bob talk on, and Mallory's open connection hears nothing of it"):
                await _talk_on(stage)
                await attempts.on_relay(wire, stage.dm, (attempts.join,))
                expect([frame for frame in wire.heard if not isinstance(frame, Welcome | RefusedFrame)], [])


async def _talk_on(stage: Stage) -> None:
    assert stage.dm is not None
    async with stage.device("alice", "phone").online() as alice, stage.device("bob", "phone").online() as bob:
        await stage.say(alice.client.conversation(stage.dm), "Did you hear somebody at the door, Bob?")
        await bob.inbox.wait_text(stage.dm, stage.said[-1])


def _victims(stage: Stage) -> tuple[varde.DeviceId, ...]:
    return stage.device("alice", "phone").id, stage.device("bob", "phone").id


async def _view(stage: Stage) -> object:
    assert stage.dm is not None
    async with open_raw(stage.device("alice", "phone")) as alice:
        return await alice.rest.conversation(stage.dm)


class _Attempts:
    """Everything Mallory tries, each with the conversation it is tried on."""

    def __init__(self, raw: Raw, profile: varde.ProfileId, devices: tuple[varde.DeviceId, ...]) -> None:
        self._raw = raw
        self._profile = profile
        self._devices = devices

    def join(self, conversation: ConversationId) -> ClientFrame:
        return Join(conversation)

    def sync(self, conversation: ConversationId) -> ClientFrame:
        return Sync(conversation, 1)

    def send(self, conversation: ConversationId) -> ClientFrame:
        return self._raw.nonsense(conversation, dict.fromkeys(self._devices, b"not for you"))

    def post(self, conversation: ConversationId) -> Awaitable[object]:
        return self._raw.rest.send(as_body(self._raw.nonsense(conversation, dict.fromkeys(self._devices, b"x"))))

    def look(self, conversation: ConversationId) -> Awaitable[object]:
        return self._raw.rest.conversation(conversation)

    def enter(self, conversation: ConversationId) -> Awaitable[object]:
        return self._raw.rest.add_member(conversation, NewMember(self._profile, self._profile))

    def claim(self, conversation: ConversationId) -> Awaitable[object]:
        return self._raw.rest.claim_prekeys(PrekeyClaim(conversation, self._devices))

    async def on_relay(
        self, wire: Wire, conversation: ConversationId, tries: tuple[Callable[[ConversationId], ClientFrame], ...]
    ) -> list[RefusedFrame]:
        """Try frames, and return the refusals. Raises Broken where one was not refused."""
        refusals = []
        for attempt in tries:
            answer = await wire.ask(attempt(conversation))
            if not isinstance(answer, RefusedFrame):
                raise Broken("a refusal", answer)
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
                raise Broken("a refusal", answer)
        return refusals

    async def compare(self, wire: Wire, there: ConversationId, nowhere: ConversationId) -> None:
        """Try everything on both: who cannot tell them apart has learnt nothing."""
        frames = (self.join, self.sync, self.send)
        calls = (self.post, self.look, self.enter, self.claim)
        expect(await self.on_relay(wire, there, frames), await self.on_relay(wire, nowhere, frames))
        expect(await self.on_api(there, calls), await self.on_api(nowhere, calls))
