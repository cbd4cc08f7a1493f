"""Welcome who comes into a group, and count heads on `/members`: `python examples/group_bot.py HOME`."""

import sys
from pathlib import Path

import trio

import varde
from varde.bot import Bot, Command


def make_bot(client: varde.Client) -> Bot:
    bot = Bot(accept_requests=True)

    @bot.on(varde.MembershipChange)
    async def welcome(event: varde.MembershipChange) -> None:
        conversation = client.conversation(event.conversation)
        await conversation.refresh()
        if event.change is varde.Change.ACCEPTED and conversation.kind is varde.ConversationKind.GROUP:
            await conversation.send("Welcome!")

    @bot.command("members")
    async def members(command: Command) -> str:
        return f"We are {len(client.conversation(command.message.conversation).members)}."

    return bot


async def main(home: Path) -> None:
    async with varde.connect(home, varde.KeyFile(home / "key")) as client:
        await make_bot(client).serve(client)


if __name__ == "__main__":
    try:
        trio.run(main, Path(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(130)
