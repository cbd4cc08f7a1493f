"""The relay is killed while two people send; the SDK reconnects and retries without any help from here."""

import os
import signal
from contextlib import AsyncExitStack

import trio

from demo.context import DemoContext
from demo.people import Online
from demo.promises import expect
from varde.events import Connected, Message, Sent
from varde_contract.ids import ConversationId

_TIMEOUT = 120.0  # seconds for all of it


async def relay_crash(context: DemoContext) -> None:
    """Alice and Bob write at once; their other devices only listen."""
    assert context.dm is not None
    run = _CrashRun(context, context.dm)
    async with AsyncExitStack() as stack:
        devices = {
            (name, kind): await stack.enter_async_context(context.device(name, kind).online())
            for name in ("alice", "bob")
            for kind in ("phone", "laptop")
        }
        async with context.transcript.promise(
            f"the relay is killed (-9) in the middle of {context.message_count} messages, and all of them are"
            " acknowledged",
            within=_TIMEOUT,
        ):
            await run.send_all(devices["alice", "phone"], devices["bob", "phone"])
            expect(len(run.acks["alice"]) + len(run.acks["bob"]), context.message_count)
            expect(context.system.relay.starts, run.starts_before + 1)
        context.transcript.note(f"the relay was away for {run.seconds_away:.1f} s")
        async with context.transcript.promise("the clients came back by themselves"):
            for device in devices.values():
                await device.inbox.wait(lambda inbox: any(up.reconnected for up in inbox.of(Connected)))
        async with context.transcript.promise(
            "every acknowledged message arrived exactly once, in order, on every device", _TIMEOUT
        ):
            await run.send_last(devices["alice", "phone"], devices["bob", "phone"])
            for (name, kind), device in devices.items():
                await run.check(device, without="" if kind == "laptop" else name)


class _CrashRun:
    """The messages that are sent around the crash, and their acks."""

    def __init__(self, context: DemoContext, conversation: ConversationId) -> None:
        self._context = context
        self._conversation = conversation
        self._each = context.message_count // 2
        self.starts_before = context.system.relay.starts
        self.seconds_away = 0.0
        self._half = trio.Event()
        self.acks: dict[str, list[Sent]] = {"alice": [], "bob": []}

    async def send_all(self, alice: Online, bob: Online) -> None:
        """Send everything from two devices, and kill the relay when half is acknowledged."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._kill_relay_at_half)
            nursery.start_soon(self._send, "alice", alice, self._each)
            nursery.start_soon(self._send, "bob", bob, self._context.message_count - self._each)

    async def _kill_relay_at_half(self) -> None:
        await self._half.wait()
        begun = trio.current_time()
        os.kill(self._context.system.relay.pid, signal.SIGKILL)
        await self._context.system.relay.wait_start(self.starts_before + 1)
        self.seconds_away = trio.current_time() - begun

    async def _send(self, name: str, device: Online, count: int) -> None:
        conversation = device.client.conversation(self._conversation)
        for number in range(1, count + 1):
            self.acks[name].append(await self._context.send_text(conversation, _text(name, number)))
            acknowledged = sum(map(len, self.acks.values()))
            self._context.transcript.progress(acknowledged, self._context.message_count, "acknowledged")
            if acknowledged == self._context.message_count // 2:
                self._half.set()

    async def send_last(self, alice: Online, bob: Online) -> None:
        """Send one more text each: a device that has it was given everything before it, once or more often."""
        for name, device in (("alice", alice), ("bob", bob)):
            await self._context.send_text(device.client.conversation(self._conversation), _last_text(name))

    async def check(self, device: Online, without: str) -> None:
        """Compare what a device was given with what was acknowledged. Its own messages it was not given."""
        for name in self.acks.keys() - {without}:
            await device.inbox.wait_text(self._conversation, _last_text(name))
            seen = [each for each in device.inbox.of(Message) if each.text.startswith(f"Storm: {name} ")]
            expected = [(ack.seq, _text(name, number)) for number, ack in enumerate(self.acks[name], start=1)]
            expect([(message.seq, message.text) for message in seen], expected)


def _text(name: str, number: int) -> str:
    return f"Storm: {name} says number {number}, whatever happens to the relay."


def _last_text(name: str) -> str:
    return f"Storm over, says {name}; whatever happened to the relay."
