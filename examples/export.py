"""Write what this device has of all conversations as JSON lines: `python examples/export.py HOME > messages.jsonl`.

It is a copy to read, and no backup to go on with: an older store put back would use its ratchets again.
"""

import sys
from pathlib import Path

import msgspec
import trio

import varde

PAGE = 500


async def main(home: Path) -> None:
    async with varde.connect(home, varde.KeyFile(home / "key")) as client:
        with trio.fail_after(60):
            conversations = await client.conversations()
        for conversation in conversations:
            before: int | None = None
            while page := conversation.history(PAGE, before=before):
                for message in reversed(page):
                    print(msgspec.json.encode(message).decode())
                before = page[0].seq


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
