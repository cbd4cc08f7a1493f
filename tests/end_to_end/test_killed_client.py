"""A client killed with -9 again and again while it sends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

import varde
from tests.end_to_end.stack import ROOT, Person, Stack, connected, open_dm, open_group, people

pytestmark = pytest.mark.xdist_group("end-to-end")

COUNT = 60
KILLS = 5


async def run_sender(home: Path, conversation: varde.Conversation, kill_after: int | None) -> None:
    """Run the program, and kill it a moment after it said so many lines."""
    program = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.end_to_end.run_sender", str(home), str(conversation.id), str(COUNT)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert program.stdout is not None
    lines = 0
    async with program.stdout as said:
        async for chunk in said:
            lines += chunk.count(b"\n")
            if kill_after is not None and lines >= kill_after:
                program.kill()
    assert (await program.wait() == 0) is (kill_after is None)


@pytest.mark.parametrize("kind", ["dm", "group"])
async def test_a_killed_sender_loses_and_doubles_nothing(stack: Stack, tmp_path: Path, kind: str) -> None:
    """However often the sender is killed with -9, every text arrives once and in order."""
    alice, bob = await people(stack, tmp_path, "alice", "bob")
    async with connected((alice, "laptop"), (bob, "laptop")) as (hers, his):
        opened = await (open_dm if kind == "dm" else open_group)(hers, his)
    for life in range(1, KILLS + 1):
        await run_sender(alice.home("laptop"), opened, life * COUNT // (KILLS + 1))
    await run_sender(alice.home("laptop"), opened, None)
    assert await read_all(bob, opened) == [str(number) for number in range(COUNT)]


async def read_all(reader: Person, opened: varde.Conversation) -> list[str]:
    """Everything somebody can read of a conversation, and that nothing of it is lost."""
    async with connected((reader, "laptop")) as (client,):
        conversation = client.conversation(opened.id)
        messages = aiter(conversation)
        texts = [(await anext(messages)).text for _ in range(COUNT)]
        assert not conversation.losses()
        assert [each.text for each in conversation.history(COUNT + 1)] == texts
        return texts
