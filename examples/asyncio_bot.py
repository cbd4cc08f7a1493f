"""A bot whose handlers are of asyncio, for its libraries: `python examples/asyncio_bot.py HOME`."""

import asyncio
import sys
from pathlib import Path

import varde
from varde.bot import Bot, Command

bot = Bot(accept_requests=True)


@bot.command("ping")
async def ping(command: Command) -> None:
    await asyncio.sleep(0.01)
    await command.reply("pong, from asyncio")


if __name__ == "__main__":
    home = Path(sys.argv[1])
    bot.run_asyncio(home, varde.KeyFile(home / "key"))
