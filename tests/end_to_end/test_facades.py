"""Trio, asyncio and blocking programs over the real system: one suite drives all three.

A program is a generator: it yields calls, as a function with its arguments, and is sent what came of them.
"""

import asyncio
import inspect
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Generator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio

import varde
from tests.end_to_end.stack import ROOT, SECONDS, Person, Stack, connected, people
from tests.end_to_end.test_consent import address
from varde import aio, blocking

pytestmark = pytest.mark.xdist_group("end-to-end")
Program: TypeAlias = Callable[[Any], Generator[Callable[[], Any], Any, None]]
Driver: TypeAlias = Callable[[Person, Program], Awaitable[None]]


async def drive(program: Generator[Callable[[], Any], Any, None]) -> None:
    """Run a program, under any loop or none: what can be awaited is."""
    step = partial(program.send, None)
    while True:
        try:
            called = step()
        except StopIteration:
            return
        try:
            result = called()
            if inspect.isawaitable(result):
                result = await result
        except Exception as error:  # noqa: BLE001 - the program says what it expects
            step = partial(program.throw, error)
        else:
            step = partial(program.send, result)


async def under_trio(person: Person, program: Program) -> None:
    """As the SDK is."""
    async with varde.connect(person.home("laptop"), person.key("laptop")) as client:
        await drive(program(client))


async def under_asyncio(person: Person, program: Program) -> None:
    """In a loop of its own."""

    async def main() -> None:
        async with aio.connect(person.home("laptop"), person.key("laptop"), timeout=SECONDS) as client:
            await drive(program(client))

    await trio.to_thread.run_sync(lambda: asyncio.run(main()))


async def under_nothing(person: Person, program: Program) -> None:
    """In a thread without a loop. `drive` then waits for nothing: it is a coroutine that ends at its first step."""

    def main() -> None:
        with (
            blocking.connect(person.home("laptop"), person.key("laptop"), timeout=SECONDS) as client,
            pytest.raises(StopIteration),
        ):
            drive(program(client)).send(None)

    await trio.to_thread.run_sync(main)


@pytest.mark.parametrize("driver", [under_trio, under_asyncio, under_nothing])
async def test_one_program_three_ways(stack: Stack, tmp_path: Path, driver: Driver) -> None:
    """Links, sending, answers, reactions, edits, history, errors: the same objects and the same errors."""
    alice, bob = await people(stack, tmp_path, "alice", "bob")
    async with connected((bob, "laptop")) as (his,), trio.open_nursery() as nursery:
        link = await his.make_link(datetime.now(UTC) + timedelta(hours=1))

        async def answer() -> None:
            async for event in his.events():
                if isinstance(event, varde.Message) and event.text == "hei":
                    await event.react("👍")
                    await event.reply("hei selv")
                    return

        nursery.start_soon(answer)

        def program(client: Any) -> Generator[Callable[[], Any], Any, None]:
            yield client.wait_connected
            assert client.connected
            conversation = yield partial(client.use_link, link.url)
            yield conversation.wait_accepted
            sent = yield partial(conversation.send, "hei")
            assert isinstance(sent, varde.Sent)
            messages = conversation.__aiter__() if hasattr(conversation, "__aiter__") else iter(conversation)
            message = yield messages.__anext__ if hasattr(messages, "__anext__") else messages.__next__
            assert (message.text, message.profile) == ("hei selv", address(his))
            mine = conversation.message(message.reply_to)
            assert [each.emoji for each in mine.reactions] == ["👍"]
            yield partial(conversation.reply, message, "og takk")
            yield partial(conversation.edit, mine.ref, "hei!")
            assert [each.text for each in conversation.history()] == ["hei!", "hei selv", "og takk"]
            with pytest.raises(varde.NotAllowed):
                yield partial(conversation.edit, message.ref, "nei")
            with pytest.raises(ValueError, match="emoji"):
                yield partial(conversation.react, message.ref, "no emoji")
            with pytest.raises(varde.NotFound):
                yield partial(client.open_dm, varde.ProfileId(client.identity.device))
            listed = yield client.conversations
            assert [each.id for each in listed] == [conversation.id]
            assert conversation.kind is varde.ConversationKind.DM
            assert len(conversation.members) == 2

        await driver(alice, program)


async def test_asyncio_ends_as_asyncio_does(stack: Stack, tmp_path: Path) -> None:
    """Limits, cancellation that loses no event, two clients in one loop, other loops and threads, after the end."""
    alice, bob = await people(stack, tmp_path, "alice", "bob")

    async def main() -> None:
        async with _aio(alice) as hers, _aio(bob) as his:
            dm = await hers.open_dm(address(his.sdk))
            with pytest.raises(TimeoutError, match=r"0\.05 seconds"):
                await dm.within(0.05).wait_accepted()
            waiting = asyncio.create_task(dm.within(None).wait_accepted())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await his.conversation(dm.id).accept()
            messages = aiter(his.conversation(dm.id))
            cut = asyncio.create_task(anext(messages))
            await asyncio.sleep(0)
            cut.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cut
            await dm.send("ikke mistet")
            message = await anext(messages)
            assert message.text == "ikke mistet"
            assert (await message.reply("nei")).seq > message.seq
            with pytest.raises(RuntimeError, match="outside of it"):
                await asyncio.to_thread(dm.history)
            with (
                pytest.raises(RuntimeError, match=r"use varde\.aio"),
                blocking.connect(alice.home("laptop"), alice.key("laptop")),
            ):
                pass
            with pytest.raises(varde.StoreInUse):
                async with _aio(alice):
                    pass
        with pytest.raises(varde.Ended):
            await dm.send("for sent")
        with pytest.raises(varde.Ended):
            dm.history()
        with pytest.raises(ZeroDivisionError):
            async with _aio(alice):
                raise ZeroDivisionError

    await trio.to_thread.run_sync(lambda: asyncio.run(main()))
    with pytest.raises(RuntimeError, match=r"use varde\.connect"):
        async with _aio(alice):
            pass


def _aio(person: Person) -> Any:
    return aio.connect(person.home("laptop"), person.key("laptop"), timeout=SECONDS)


async def test_blocking_calls_come_from_any_thread_and_end(stack: Stack, tmp_path: Path) -> None:
    """Limits, other threads, inside a loop, after the end."""
    alice, bob = await people(stack, tmp_path, "alice", "bob")
    async with connected((bob, "laptop")) as (his,):

        def main() -> None:
            with blocking.connect(alice.home("laptop"), alice.key("laptop"), timeout=SECONDS) as client:
                dm = client.open_dm(address(his))
                with pytest.raises(TimeoutError, match=r"0\.05 seconds"):
                    dm.within(0.05).wait_accepted()
                with pytest.raises(TimeoutError):
                    list(client.events(timeout=0.05))
                trio.from_thread.run(his.conversation(dm.id).accept)
                dm.refresh()
                sent: list[varde.Sent] = []
                threads = [threading.Thread(target=lambda: sent.append(dm.send("fra en tråd"))) for _ in range(3)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                assert len({each.seq for each in sent}) == 3
            with pytest.raises(varde.Ended):
                dm.send("for sent")
            with pytest.raises(varde.Ended):
                dm.history()

        await trio.to_thread.run_sync(main)
        with (
            pytest.raises(RuntimeError, match=r"use varde\.connect"),
            blocking.connect(alice.home("laptop"), alice.key("laptop")),
        ):
            pass


WAITS = {
    "asyncio": """
from varde import aio
async def main():
    async with aio.connect({home!r}, varde.KeyFile({key!r})) as client:
        print("ready", flush=True)
        async for _ in client.events(): pass
aio.run(main())
""",
    "blocking": """
from varde import blocking
def main():
    with blocking.connect({home!r}, varde.KeyFile({key!r})) as client:
        print("ready", flush=True)
        for _ in client.events(): pass
blocking.run(main)
""",
}


@pytest.mark.parametrize("kind", WAITS)
async def test_ctrl_c_ends_a_program_without_a_traceback(stack: Stack, tmp_path: Path, kind: str) -> None:
    """With the exit code of an interrupted program, and its client closed."""
    (alice,) = await people(stack, tmp_path, "alice")
    code = "import varde" + WAITS[kind].format(home=str(alice.home("laptop")), key=str(alice.key("laptop").path))
    command = [sys.executable, "-c", code]
    with trio.fail_after(SECONDS):
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
        assert process.stdout is not None
        assert process.stderr is not None
        async with process.stdout, process.stderr:
            try:
                assert bytes(await process.stdout.receive_some()).startswith(b"ready")
                process.send_signal(signal.SIGINT)
                assert (await process.wait(), bytes(await process.stderr.receive_some())) == (130, b"")
            finally:
                process.kill()


def test_both_facades_have_what_the_sdk_has() -> None:
    """Every public name of `Client` and `Conversation`, but for those that `run` is for."""
    left_out = {"own_list", "contacts"}  # `client.sdk` has them
    for facade in (aio, blocking):
        for name in ("Client", "Conversation"):
            theirs = {each for each in dir(getattr(varde, name)) if not each.startswith("_")}
            assert theirs - set(dir(getattr(facade, name))) - left_out == set(), f"{facade.__name__}.{name}"
