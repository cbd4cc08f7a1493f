"""Say again what others say: `python examples/echo_bot.py HOME`, until Ctrl-C."""

import sys
from pathlib import Path

import varde
from varde.bot import Bot

bot = Bot(accept_requests=True)


@bot.on(varde.Message)
async def echo(message: varde.Message) -> None:
    await message.reply(message.text)


if __name__ == "__main__":
    home = Path(sys.argv[1])
    bot.run(home, varde.KeyFile(home / "key"))
