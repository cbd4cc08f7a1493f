"""Remind people: `/remind 600 "take the bread out"`, in seconds. Run it with `python examples/reminder.py HOME`.

A reminder is kept in memory only: one that stops forgets. The handler ends at once and the waiting is a task of its
own, because one handler runs at a time in a conversation.
"""

import sys
from pathlib import Path

import trio

import varde
from varde.bot import Bot, Command

LONGEST_SECONDS = 86_400


def make_bot(nursery: trio.Nursery) -> Bot:
    bot = Bot(accept_requests=True)

    async def remind_later(command: Command, seconds: int, text: str) -> None:
        await trio.sleep(seconds)
        await command.reply(f"Reminder: {text}")

    @bot.command("remind")
    async def remind(command: Command) -> str:
        match command.args:
            case [number, text] if number.isdecimal() and len(number) < 6 and int(number) <= LONGEST_SECONDS:  # noqa: PLR2004
                nursery.start_soon(remind_later, command, int(number), text)
                return "I will."
        return 'Like this: /remind 600 "take the bread out"'

    return bot


async def main(home: Path) -> None:
    async with varde.connect(home, varde.KeyFile(home / "key")) as client, trio.open_nursery() as nursery:
        await make_bot(nursery).serve(client)


if __name__ == "__main__":
    try:
        trio.run(main, Path(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(130)
