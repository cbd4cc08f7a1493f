"""A program that sends numbered texts and is killed. Its arguments: home folder, conversation, how many texts."""

import sys
from pathlib import Path
from uuid import UUID

import trio

import varde


async def main(home: Path, conversation_id: varde.ConversationId, count: int) -> None:
    """Send the numbers that are neither acked nor on their way, and say each that is acked."""
    async with varde.connect(home, varde.KeyFile(home / "key")) as client:
        conversation = client.conversation(conversation_id)
        for number in range(count):
            known = {each.text for each in conversation.history(count)}
            known |= {each.text for each in conversation.outgoing()}
            if str(number) not in known:
                await conversation.send(str(number))
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
        while conversation.outgoing():  # noqa: ASYNC110 - what an earlier life left goes out by itself
            await trio.sleep(0.05)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), varde.ConversationId(UUID(sys.argv[2])), int(sys.argv[3]))
