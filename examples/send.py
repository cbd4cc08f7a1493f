"""Send one text to whom a link leads: `python examples/send.py HOME LINK TEXT`."""

import sys
from pathlib import Path

import trio

import varde


async def main(home: Path, link: str, text: str) -> None:
    with trio.fail_after(60):
        async with varde.connect(home, varde.KeyFile(home / "key")) as client:
            conversation = await client.use_link(link)
            sent = await conversation.send(text)
            print("stored as number", sent.seq)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2], sys.argv[3])
