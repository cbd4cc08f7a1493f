"""Every program of examples/ is run against the real system. What ran is written into build/examples.json.

`ran` lists the examples that did what they say, `failed` those that did not.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio

import varde
from tests.end_to_end.stack import ROOT, SECONDS, Person, Stack, connected, people
from tests.end_to_end.test_consent import address

pytestmark = pytest.mark.xdist_group("end-to-end")
PYTHON = os.environ | {"PYTHONPATH": str(ROOT)}


class World:
    """Alice, who runs the examples, and Bob, who talks to them in a dm that both are in."""

    def __init__(self, alice: Person, bob: varde.Client, dm: varde.ConversationId, link: str) -> None:
        self.home = str(alice.home("laptop"))
        self.bob = bob
        self.dm = bob.conversation(dm)
        self.link = link
        self.said = aiter(self.dm)

    async def run(self, name: str, *args: str) -> str:
        """Run an example to its end; return what it printed."""
        done = await trio.run_process(
            [sys.executable, ROOT / "examples" / name, self.home, *args],
            capture_stdout=True,
            capture_stderr=True,
            env=PYTHON,
            check=False,
        )
        assert (done.returncode, done.stderr.decode()) == (0, "")
        return done.stdout.decode()

    @asynccontextmanager
    async def running(self, name: str, *, code: int = 0, how: signal.Signals = signal.SIGTERM) -> AsyncIterator[None]:
        """An example that runs until it is told to end, and ends cleanly."""
        command = [sys.executable, str(ROOT / "examples" / name), self.home]
        process = await trio.lowlevel.open_process(command, stderr=subprocess.PIPE, env=PYTHON)
        assert process.stderr is not None
        async with process.stderr:
            try:
                yield
                process.send_signal(how)
                await process.wait()
                assert (process.returncode, bytes(await process.stderr.receive_some())) == (code, b"")
            finally:
                process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()

    async def ask(self, text: str) -> varde.Message:
        """Say something in the dm, and return the next message there."""
        await self.dm.send(text)
        return await anext(self.said)


async def send(world: World) -> None:
    """One text, through a link."""
    assert "stored as number" in await world.run("send.py", world.link, "hei fra et program")
    assert (await anext(world.said)).text == "hei fra et program"


async def echo_bot(world: World) -> None:
    """The same text, as a reply; Ctrl-C ends it."""
    async with world.running("echo_bot.py", how=signal.SIGINT):
        answer = await world.ask("ekko?")
        assert answer.text == "ekko?"
        asked = world.dm.message(answer.reply_to) if answer.reply_to else None
        assert asked is not None
        assert asked.text == "ekko?"


async def command_bot(world: World) -> None:
    """Sums, quoted arguments, and what is told for wrong ones."""
    async with world.running("command_bot.py"):
        assert (await world.ask("/add 1 2 3")).text == "6"
        assert (await world.ask("/ADD x")).text == "Numbers only, please."
        assert (await world.ask("/say 'to ord' ett")).text == "to ord | ett"
        assert (await world.ask("/say 'to ord")).text == "A quotation mark is not closed."


async def group_bot(world: World) -> None:
    """It accepts, and counts."""
    async with world.running("group_bot.py", how=signal.SIGINT, code=130):
        group = await world.bob.open_group([(await _other(world)).profile])
        while group.invited:
            await trio.sleep(0.1)  # the bot accepts by itself, and tells it to nobody but in the chain
            await group.refresh()
        await group.send("/members")
        assert (await anext(aiter(group))).text == "We are 2."


async def reminder(world: World) -> None:
    """At once, here."""
    async with world.running("reminder.py", how=signal.SIGINT, code=130):
        assert (await world.ask("/remind ² x")).text.startswith("Like this")
        assert {(await world.ask("/remind 0 brød")).text, (await anext(world.said)).text} == {
            "I will.",
            "Reminder: brød",
        }


async def asyncio_bot(world: World) -> None:
    """A handler of asyncio."""
    async with world.running("asyncio_bot.py"):
        assert (await world.ask("/ping")).text == "pong, from asyncio"


async def blocking_script(world: World) -> None:
    """A text, and the answer to it."""

    async def answer() -> None:
        message = await anext(world.said)
        await message.reply("ja, " + message.text)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        assert await world.run("blocking_script.py", world.link, "er du der?") == "answer: ja, er du der?\n"


async def thread_bot(world: World) -> None:
    """A reaction, and an answer in the thread."""
    async with world.running("thread_bot.py", how=signal.SIGINT, code=130):
        sent = await world.dm.send("en tråd")
        answer = await anext(world.said)
        assert answer.thread is not None
        root = world.dm.message(answer.thread)
        assert root is not None
        assert (root.seq, [each.emoji for each in root.reactions]) == (sent.seq, ["👍"])


async def export(world: World) -> None:
    """Everything that was said is in it."""
    lines = (await world.run("export.py")).splitlines()
    assert "en tråd" in [json.loads(line)["text"] for line in lines]


async def invite(world: World) -> None:
    """A link that can be read."""
    url = (await world.run("invite.py")).strip()
    assert world.bob.parse_link(url).url == url


async def _other(world: World) -> varde.MemberView:
    (other,) = [each for each in world.dm.members if each.profile != address(world.bob)]
    return other


EXAMPLES: tuple[Callable[[World], Awaitable[None]], ...] = (
    *(send, echo_bot, command_bot, group_bot, reminder),
    *(asyncio_bot, blocking_script, thread_bot, export, invite),
)


def test_every_example_is_run() -> None:
    """What lies in examples/ is tried below."""
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == {each.__name__ for each in EXAMPLES}


@pytest.mark.timeout(400)  # twenty processes start one after the other: half a minute, on a busy machine much more
async def test_examples_do_what_they_say(stack: Stack, tmp_path: Path) -> None:
    """One after the other, because they share a home: Alice's. What fails is told at the end."""
    alice, bob = await people(stack, tmp_path, "alice", "bob")
    soon = datetime.now(UTC) + timedelta(hours=1)
    ran, failed, causes = [], [], []
    async with connected((bob, "laptop"), seconds=380) as (his,):
        link = (await his.make_link(soon, uses=9)).url
        async with connected((alice, "laptop")) as (hers,):
            dm = await hers.use_link(link)
            await dm.wait_accepted()
        world = World(alice, his, dm.id, link)
        for example in EXAMPLES:
            try:
                with trio.fail_after(SECONDS):
                    await example(world)
                ran.append(example.__name__)
            except Exception as error:  # noqa: BLE001 - it is told below, and the others are tried
                failed.append(example.__name__)
                causes.append(error)
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    (build / "examples.json").write_text(json.dumps({"ran": ran, "failed": failed}) + "\n")
    if causes:
        raise ExceptionGroup(f"examples that failed: {failed}", causes)
