"""The relay is killed in the middle of a storm of messages.

Each is sent by the SDK as an application would; nothing here helps it to reconnect.
"""

import os
import signal
from contextlib import AsyncExitStack

import trio

from demo.cast import Online
from demo.stage import Stage
from demo.story import expect
from varde.events import Connected, Message, Sent
from varde_contract.ids import ConversationId

_PATIENCE = 120.0  # seconds for all of it


async def tell(stage: Stage) -> None:
    """Alice and Bob write at once; their other devices only listen."""
    assert stage.dm is not None
    storm = _Storm(stage, stage.dm)
    async with AsyncExitStack() as stack:
        devices = {
            (name, kind): await stack.enter_async_context(stage.device(name, kind).online())
            for name in ("alice", "bob")
            for kind in ("phone", "laptop")
        }
        async with stage.story.promise(
            f"the relay is killed (-9) in the middle of {stage.storm} messages, and all of them are acknowledged",
            within=_PATIENCE,
        ):
            await storm.rage(devices["alice", "phone"], devices["bob", "phone"])
            expect(len(storm.acks["alice"]) + len(storm.acks["bob"]), stage.storm)
            expect(stage.system.relay.starts, storm.starts_before + 1)
        stage.story.note(f"the relay was away for {storm.seconds_away:.1f} s")
        async with stage.story.promise("the clients came back by themselves"):
            for device in devices.values():
                await device.inbox.wait(lambda inbox: any(up.reconnected for up in inbox.of(Connected)))
        async with stage.story.promise(
            "every acknowledged message arrived exactly once, in order, on every device", _PATIENCE
        ):
            await storm.calm(devices["alice", "phone"], devices["bob", "phone"])
            for (name, kind), device in devices.items():
                await storm.check(device, without="" if kind == "laptop" else name)


class _Storm:
    """The messages of the storm, and what became of them."""

    def __init__(self, stage: Stage, conversation: ConversationId) -> None:
        self._stage = stage
        self._conversation = conversation
        self._each = stage.storm // 2
        self.starts_before = stage.system.relay.starts
        self.seconds_away = 0.0
        self._half = trio.Event()
        self.acks: dict[str, list[Sent]] = {"alice": [], "bob": []}

    async def rage(self, alice: Online, bob: Online) -> None:
        """Send everything from two devices, and kill the relay when half is acknowledged."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._kill_at_half)
            nursery.start_soon(self._send, "alice", alice, self._each)
            nursery.start_soon(self._send, "bob", bob, self._stage.storm - self._each)

    async def _kill_at_half(self) -> None:
        await self._half.wait()
        begun = trio.current_time()
        os.kill(self._stage.system.relay.pid, signal.SIGKILL)
        await self._stage.system.relay.wait_start(self.starts_before + 1)
        self.seconds_away = trio.current_time() - begun

    async def _send(self, name: str, device: Online, count: int) -> None:
        conversation = device.client.conversation(self._conversation)
        for number in range(1, count + 1):
            self.acks[name].append(await self._stage.say(conversation, _text(name, number)))
            acknowledged = sum(map(len, self.acks.values()))
            self._stage.story.progress(acknowledged, self._stage.storm, "acknowledged")
            if acknowledged == self._stage.storm // 2:
                self._half.set()

    async def calm(self, alice: Online, bob: Online) -> None:
        """Say that it is over: who has read that was given everything before it, once or more often."""
        for name, device in (("alice", alice), ("bob", bob)):
            await self._stage.say(device.client.conversation(self._conversation), _calm(name))

    async def check(self, device: Online, without: str) -> None:
        """Compare what a device was given with what was acknowledged. Its own messages it was not given."""
        for name in self.acks.keys() - {without}:
            await device.inbox.wait_text(self._conversation, _calm(name))
            seen = [each for each in device.inbox.of(Message) if each.text.startswith(f"Storm: {name} ")]
            expected = [(ack.seq, _text(name, number)) for number, ack in enumerate(self.acks[name], start=1)]
            expect([(message.seq, message.text) for message in seen], expected)


def _text(name: str, number: int) -> str:
    return f"Storm: {name} says number {number}, whatever happens to the relay."


def _calm(name: str) -> str:
    return f"Storm over, says {name}; whatever happened to the relay."
