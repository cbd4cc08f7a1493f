"""A device that was off gets what it missed, in order and without holes.

The relay stays up here; that it may die is the chapter `killed.py`.
"""

from typing import Final

from demo.stage import Stage
from demo.story import expect
from varde.events import Gap

MISSED: Final = 40


async def tell(stage: Stage) -> None:
    """Bob's laptop sleeps while Alice and Carol write in two conversations."""
    assert stage.dm is not None
    assert stage.group is not None
    begun = len(stage.said)
    async with (
        stage.device("alice", "phone").online() as alice,
        stage.device("carol", "phone").online() as carol,
    ):
        for number in range(1, MISSED + 1):
            await stage.say(alice.client.conversation(stage.dm), f"While your laptop slept, Bob: number {number}.")
            await stage.say(carol.client.conversation(stage.group), f"While some of you slept: number {number}.")
    async with (
        stage.story.promise(f"Bob's laptop was off for {2 * MISSED} messages, and gets all of them in order"),
        stage.device("bob", "laptop").online() as laptop,
    ):
        missed = stage.said[begun:]
        for conversation, expected in ((stage.dm, missed[0::2]), (stage.group, missed[1::2])):
            expect(await laptop.inbox.wait_texts(conversation, MISSED), expected)
    async with (
        stage.story.promise("nothing is given twice, and no number is missing"),
        stage.device("bob", "laptop").online() as laptop,
    ):
        for conversation in (stage.dm, stage.group):
            messages = laptop.client.conversation(conversation).history(limit=MISSED)
            expect([message.seq for message in messages], list(range(messages[0].seq, messages[0].seq + MISSED)))
            expect(laptop.inbox.texts(conversation), [])
            expect(laptop.inbox.of(Gap), [])
