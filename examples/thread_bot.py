"""React to each message, and answer it in a thread of its own: `python examples/thread_bot.py HOME`."""

import sys
from pathlib import Path

import trio

import varde


async def main(home: Path) -> None:
    async with varde.connect(home, varde.KeyFile(home / "key")) as client:
        async for event in client.events():
            if isinstance(event, varde.Message) and not event.mine:
                await event.react("👍")
                conversation = client.conversation(event.conversation)
                await conversation.send("in the thread", reply_to=event.ref, thread=event.thread or event.ref)


if __name__ == "__main__":
    try:
        trio.run(main, Path(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(130)
