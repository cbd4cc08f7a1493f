"""Make a link to oneself, good for a day and one person: `python examples/invite.py HOME`, with asyncio."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import varde
from varde import aio


async def main(home: Path) -> None:
    async with aio.connect(home, varde.KeyFile(home / "key"), timeout=30) as client:
        link = await client.make_link(datetime.now(UTC) + timedelta(days=1))
        print(link.url)


if __name__ == "__main__":
    aio.run(main(Path(sys.argv[1])))
