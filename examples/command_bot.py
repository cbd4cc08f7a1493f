"""Answer commands: `/add 1 2 3`, `/say "two words" one`. Run it with `python examples/command_bot.py HOME`."""

import sys
from pathlib import Path

import varde
from varde.bot import Bot, Command

bot = Bot(accept_requests=True)


@bot.command("add")
async def add(command: Command) -> str:
    try:
        return str(sum(int(each) for each in command.args))
    except ValueError:
        return "Numbers only, please."


@bot.command("say")
async def say(command: Command) -> str:
    return " | ".join(command.args)


if __name__ == "__main__":
    home = Path(sys.argv[1])
    bot.run(home, varde.KeyFile(home / "key"))
